//! Routes that are wrong, and policies that do not go with them.

use serde_json::{Value, json};

use super::refused;
use crate::tests::{long_form, tutorial};

fn routed() -> Value {
    let mut document = long_form();
    document["routes"] = json!([{
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": { "name": "llm", "namespace": "gateway-system" },
        "spec": {
            "parentRefs": [{ "name": "llm" }],
            "hostnames": ["llm.example.com"],
            "rules": [{
                "name": "chat",
                "matches": [{ "path": { "type": "PathPrefix", "value": "/v1" } }],
                "backendRefs": [{ "name": "llm", "port": 80 }]
            }]
        }
    }]);
    document
}

/// The tutorial's policy, under another name and with another target.
fn policy(name: &str, kind: &str, target: &str, section: Option<&str>) -> Value {
    let mut policy = tutorial();
    policy["metadata"]["name"] = json!(name);
    policy["spec"]["targetRef"]["kind"] = json!(kind);
    policy["spec"]["targetRef"]["name"] = json!(target);
    if let Some(section) = section {
        policy["spec"]["targetRef"]["sectionName"] = json!(section);
    }
    policy
}

#[test]
fn routes_that_are_wrong() {
    let hostname = "expected a hostname such as \"llm.example.com\" or \"*.example.com\"";
    let at = |fault: &str| format!("routes[0].spec.{fault}");
    refused(
        &routed(),
        [
            ("/routes", Some(json!([])), "routes: must not be empty"),
            (
                "/routes/1",
                Some(routed()["routes"][0].clone()),
                "routes[1]: the route \"gateway-system/llm\" is given already at routes[0]",
            ),
            (
                "/routes/0/kind",
                Some(json!("GRPCRoute")),
                "routes[0].kind: expected \"HTTPRoute\", found \"GRPCRoute\"",
            ),
            (
                "/routes/0/spec/hostnames",
                Some(json!(["*", "a..b", "a.*.b", "-a.b", "a.b.", "a:80"])),
                &[0, 1, 2, 3, 4, 5]
                    .map(|index| at(&format!("hostnames[{index}]: {hostname}")))
                    .join("\n"),
            ),
            (
                "/routes/0/spec/rules/0/matches/0/path",
                Some(json!({ "type": "Prefix", "value": "/v1" })),
                &at(
                    "rules[0].matches[0].path.type: expected \"Exact\", \"PathPrefix\" or \"RegularExpression\", found \"Prefix\"",
                ),
            ),
            (
                "/routes/0/spec/rules/0/matches/0/path",
                Some(json!({ "value": "v1" })),
                &at("rules[0].matches[0].path.value: a path begins with \"/\""),
            ),
            (
                "/routes/0/spec/rules/0/matches/0/path",
                Some(json!({ "type": "RegularExpression", "value": "/v1)|(" })),
                &at("rules[0].matches[0].path.value: not a regular expression"),
            ),
            (
                "/routes/0/spec/rules/0/matches/0/headers",
                Some(json!([{ "name": "x tier", "value": "" }, {}])),
                &at(
                    "rules[0].matches[0].headers[0].name: a name must not contain white space or control characters\n\
                     routes[0].spec.rules[0].matches[0].headers[0].value: must not be empty\n\
                     routes[0].spec.rules[0].matches[0].headers[1].name: required, but missing\n\
                     routes[0].spec.rules[0].matches[0].headers[1].value: required, but missing",
                ),
            ),
            (
                "/routes/0/spec/rules/0/match",
                Some(json!([])),
                &at("rules[0].match: unknown field, did you mean \"matches\"?"),
            ),
        ],
    );
}

#[test]
fn policies_that_do_not_go_with_the_routes() {
    refused(
        &routed(),
        [
            (
                "/policies/1",
                Some(policy("p", "HTTPRoute", "lm", None)),
                "policies[1].spec.targetRef.name: no route \"gateway-system/lm\" in routes, did you mean \"gateway-system/llm\"?",
            ),
            (
                "/policies/1",
                Some(policy("p", "HTTPRoute", "llm", Some("models"))),
                "policies[1].spec.targetRef.sectionName: no rule \"models\" in the route \"gateway-system/llm\"",
            ),
            (
                "/policies/1",
                Some(policy("p", "Gateway", "llm", None)),
                "policies[1].spec.targetRef: a policy for this target is given already at policies[0]",
            ),
            (
                "/policies/1",
                Some(policy("p", "Gateway", "other", None)),
                "policies[1].spec.targetRef.name: expected \"gateway-system/llm\" as in policies[0], found \"gateway-system/other\"",
            ),
        ],
    );
}
