//! Tests of invalid routes, and of policies that do not match them.

use serde_json::{Value, json};

use crate::fixtures::{assert_errors, long_form, tutorial};

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

/// The tutorial's policy with another name and another target.
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
fn invalid_routes_are_rejected() {
    let hostname = "invalid hostname, expected e.g. \"llm.example.com\" or \"*.example.com\"";
    let at = |error: &str| format!("routes[0].spec.{error}");
    assert_errors(
        &routed(),
        [
            ("/routes", Some(json!([])), "routes: must not be empty"),
            (
                "/routes/1",
                Some(routed()["routes"][0].clone()),
                "routes[1]: duplicate route \"gateway-system/llm\", already given at routes[0]",
            ),
            (
                "/routes/0/kind",
                Some(json!("GRPCRoute")),
                "routes[0].kind: found \"GRPCRoute\", expected \"HTTPRoute\"",
            ),
            (
                "/routes/0/apiVersion",
                Some(json!("gateway.networking.k8s.io/v2")),
                "routes[0].apiVersion: found \"gateway.networking.k8s.io/v2\", expected \"gateway.networking.k8s.io/v1\", \"gateway.networking.k8s.io/v1beta1\" or \"gateway.networking.k8s.io/v1alpha2\"",
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
                    "rules[0].matches[0].path.type: found \"Prefix\", expected \"Exact\", \"PathPrefix\" or \"RegularExpression\"",
                ),
            ),
            (
                "/routes/0/spec/rules/0/matches/0/path",
                Some(json!({ "value": "v1" })),
                &at(
                    "rules[0].matches[0].path.value: invalid path, expected one that begins with \"/\"",
                ),
            ),
            (
                "/routes/0/spec/rules/0/matches/0/path",
                Some(json!({ "type": "RegularExpression", "value": "/v1)|(" })),
                &at(
                    "rules[0].matches[0].path.value: invalid regular expression: found closing ')' without matching '('",
                ),
            ),
            (
                "/routes/0/spec/rules/0/matches/0/headers",
                Some(json!([{ "name": "x tier", "value": "" }, {}])),
                &at(
                    "rules[0].matches[0].headers[0].name: found \"x tier\", expected a name without white space and control characters\n\
                     routes[0].spec.rules[0].matches[0].headers[0].value: must not be empty\n\
                     routes[0].spec.rules[0].matches[0].headers[1].name: missing required field\n\
                     routes[0].spec.rules[0].matches[0].headers[1].value: missing required field",
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
fn policies_must_match_the_routes() {
    assert_errors(
        &routed(),
        [
            (
                "/policies/1",
                Some(policy("p", "HTTPRoute", "lm", None)),
                "policies[1].spec.targetRef.name: unknown route \"gateway-system/lm\", expected the namespace/name of one in \"routes\", did you mean \"gateway-system/llm\"?",
            ),
            (
                "/policies/1",
                Some(policy("p", "HTTPRoute", "llm", Some("models"))),
                "policies[1].spec.targetRef.sectionName: unknown rule \"models\", expected the name of a rule of the route \"gateway-system/llm\"",
            ),
            (
                "/policies/1",
                Some(policy("p", "Gateway", "other", None)),
                "policies[1].spec.targetRef.name: found \"gateway-system/other\", expected \"gateway-system/llm\" as in policies[0]",
            ),
        ],
    );
}
