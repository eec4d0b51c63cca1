//! Tests of what Kuadrant's CRD and Kubernetes accept beyond the usual form of a policy.

use serde_json::{Value, json};

use crate::fixtures::{errors_of, long_form, policy, read, route, set, tutorial};
use crate::{Configuration, RateLimit, parse_carried, parse_yaml};

/// The names of the policies that are in force.
fn names(configuration: &Configuration) -> Vec<&str> {
    let policies = configuration.policies.iter();
    policies.map(|policy| policy.name.as_str()).collect()
}

/// The number of limits that apply to a request without a route.
fn effective(configuration: &Configuration) -> usize {
    let effective = configuration.effective(|_| None).unwrap();
    effective.iter().map(|policy| policy.limits.len()).sum()
}

fn warnings(configuration: &Configuration) -> Vec<String> {
    let warnings = configuration.warnings.iter();
    warnings.map(ToString::to_string).collect()
}

/// The tutorial's policy with one change.
fn changed(pointer: &str, value: Value) -> Value {
    let mut document = tutorial();
    set(&mut document, pointer, Some(value));
    document
}

/// A policy with one limit and this target.
fn attached(name: &str, kind: &str, target: &str, created: Value) -> Value {
    let target = json!({ "group": "gateway.networking.k8s.io", "kind": kind, "name": target });
    let limits = json!({ "all": { "rates": [{ "limit": 1, "window": "1m" }] } });
    let mut policy = policy(name, &json!({ "targetRef": target, "limits": limits }));
    policy["metadata"]["creationTimestamp"] = created;
    policy
}

#[test]
fn nulls_are_absent_fields() {
    let mut document = tutorial();
    for pointer in [
        "/metadata/creationTimestamp",
        "/metadata/annotations",
        "/spec/when",
        "/spec/defaults",
        "/spec/overrides",
        "/spec/dataExtraction",
        "/spec/targetRef/sectionName",
        "/spec/limits/none",
        "/spec/limits/free/cost",
        "/spec/limits/free/requests",
        "/spec/limits/free/concurrency",
        "/spec/limits/free/alertAt",
        "/spec/limits/free/shadow",
        "/spec/limits/free/onExceeded",
        "/spec/limits/free/whenMissing",
        "/spec/limits/free/rates/0/algorithm",
        "/spec/limits/free/rates/0/min",
        "/status",
    ] {
        set(&mut document, pointer, Some(Value::Null));
    }
    document["spec"]["limits"]["free"]["reservation"] =
        json!({ "amount": null, "ttl": null, "max": null });
    document["spec"]["limits"]["gold"]["when"] = Value::Null;
    document["spec"]["limits"]["gold"]["counters"] = Value::Null;
    let configuration = read(&document);
    let limits = &configuration.policies[0].limits;
    let names: Vec<&str> = limits.iter().map(|limit| limit.name.as_str()).collect();
    assert_eq!(names, ["free", "gold"]);
    assert!(limits[1].counters.is_empty());
    assert_eq!(warnings(&configuration), [""; 0]);

    let mut document = long_form();
    for setting in [
        "routes",
        "storage",
        "failureMode",
        "auth",
        "usage",
        "replies",
        "pricing",
    ] {
        document[setting] = Value::Null;
    }
    assert_eq!(effective(&read(&document)), 2);
}

#[test]
fn limits_without_rates_enforce_nothing() {
    for limit in [
        json!({ "rates": [] }),
        json!({ "rates": null }),
        json!({}),
        json!({ "counters": [{ "expression": "auth.identity.userid" }] }),
    ] {
        let configuration = read(&changed("/spec/limits/free", limit.clone()));
        assert_eq!(configuration.policies[0].limits.len(), 2);
        assert_eq!(effective(&configuration), 1, "{limit}");
        assert_eq!(
            warnings(&configuration),
            [
                "spec.limits.free: found nothing to count, so the limit enforces nothing; add \"rates\", \"requests\", \"budgets\" or \"concurrency\", or remove it"
            ]
        );
        let limits = crate::limitador::limits(&configuration, None).unwrap();
        assert_eq!(limits.len(), 1);
    }
    let only = changed("/spec/limits", json!({ "free": {} }));
    assert_eq!(effective(&read(&only)), 0);
}

#[test]
fn limits_without_rates_still_replace_others() {
    let rates = json!([{ "limit": 1, "window": "1m" }]);
    let gateway = policy(
        "gateway",
        &json!({ "defaults": { "strategy": "merge", "limits": { "a": { "rates": rates }, "b": { "rates": rates } } } }),
    );
    let mut of_route = attached("route", "HTTPRoute", "llm", Value::Null);
    of_route["spec"]["limits"] = json!({ "a": {} });
    let configuration = read(&json!({
        "policies": [gateway, of_route], "routes": [route("llm", &json!({}))]
    }));
    let effective = configuration.effective(|_| None).unwrap();
    let limits: Vec<&str> = effective[0]
        .limits
        .iter()
        .map(|index| {
            configuration.policies[index.policy].limits[index.limit]
                .name
                .as_str()
        })
        .collect();
    assert_eq!(limits, ["b"]);
}

#[test]
fn numbers_can_be_negative_huge_or_text() {
    let max = 9_007_199_254_740_991;
    for (value, expected) in [
        (json!(-1), 0),
        (json!(i64::MIN), 0),
        (json!("-5"), 0),
        (json!(i64::MAX), max),
        (json!("9223372036854775807"), max),
        (json!("5000000000"), 5_000_000_000),
        (json!("5e3"), 5000),
        (json!("50.0"), 50),
    ] {
        let configuration = read(&changed("/spec/limits/free/rates/0/limit", value.clone()));
        let found = &configuration.policies[0].limits[0].rates[0].limit;
        assert!(
            matches!(found, RateLimit::Fixed(limit) if *limit == expected),
            "{value}: {found:?}"
        );
    }
}

#[test]
fn numbers_are_read_from_their_text() {
    let mut document = long_form();
    for (pointer, value) in [
        ("/policies/0/spec/limits/free/alertAt", "0.8"),
        ("/policies/0/spec/limits/free/concurrency", "20"),
        ("/replies", ""),
        ("/storage", ""),
        ("/pricing", ""),
        ("/memory", ""),
        ("/requestBody", ""),
    ] {
        let value = match pointer {
            "/replies" => json!({ "status": "503" }),
            "/storage" => json!({ "maxCounters": "1e3" }),
            "/pricing" => json!({ "m": { "input": "2.5", "output": "1e1" } }),
            "/memory" => json!({ "perWorker": "536870912" }),
            "/requestBody" => json!({ "maxBytes": "1e6" }),
            _ => json!(value),
        };
        set(&mut document, pointer, Some(value));
    }
    document["policies"][0]["spec"]["limits"]["free"]["budgets"] =
        json!([{ "usd": "1.5", "window": "1h" }]);
    document["policies"][0]["spec"]["limits"]["free"]["reservation"] = json!({ "max": "4e3" });
    let configuration = read(&document);
    let limit = &configuration.policies[0].limits[0];
    assert_eq!(limit.alert_at, Some(800_000));
    assert_eq!(limit.concurrency, Some(20));
    assert_eq!(limit.budgets[0].usd.to_string(), "1.50");
    assert_eq!(limit.reservation.as_ref().unwrap().max, Some(4000));
    assert_eq!(configuration.replies.status, 503);
    assert_eq!(configuration.request_body.max_bytes, 1_000_000);
    let price = configuration.pricing.unwrap();
    assert_eq!(price.of("m").unwrap().output.to_string(), "10.00");
}

#[test]
fn names_can_have_white_space() {
    let rates = json!({ "rates": [{ "limit": 1, "window": "1m" }] });
    for name in ["free tier", "\u{a0}", " ", "día 1"] {
        let configuration = read(&changed("/spec/limits", json!({ name: rates })));
        assert_eq!(configuration.policies[0].limits[0].name, name);
    }
}

#[test]
fn generated_names_begin_with_their_prefix() {
    let mut document = tutorial();
    document["metadata"] = json!({ "generateName": "llm-" });
    let configuration = read(&document);
    assert_eq!(names(&configuration), ["default/llm-"]);
    assert_eq!(
        warnings(&configuration),
        [
            "metadata.generateName: found no name but a prefix for one, so the policy is named \"llm-\" and its limits are not those that Kuadrant writes into limitador; set \"metadata.name\""
        ]
    );
    document["metadata"]["name"] = json!("llm-x7k2p");
    let configuration = read(&document);
    assert_eq!(names(&configuration), ["default/llm-x7k2p"]);
    assert_eq!(warnings(&configuration), [""; 0]);
}

#[test]
fn when_beside_defaults_has_no_effect() {
    for section in ["defaults", "overrides"] {
        let limits = tutorial()["spec"]["limits"].clone();
        let mut document = changed("/spec/when", json!([{ "predicate": "false" }]));
        set(&mut document, "/spec/limits", None);
        document["spec"][section] = json!({ "limits": limits });
        let configuration = read(&document);
        assert!(configuration.policies[0].when.is_empty());
        assert_eq!(
            warnings(&configuration),
            [format!(
                "spec.when: has no effect beside \"{section}\"; move it into \"{section}\" or remove it"
            )]
        );
    }
}

#[test]
fn extracted_numbers_have_any_names() {
    let response = json!({
        "totalTokens": ["/usage/total_tokens", "/a~1b/~0"],
        "inputTokens": ["/usage/input_tokens"],
        "totaltokens": ["/n"],
        "none": null
    });
    let configuration = read(&changed(
        "/spec/dataExtraction",
        json!({ "response": response }),
    ));
    assert_eq!(configuration.policies[0].total_tokens.len(), 2);
    let only = "has no effect, as only \"totalTokens\" is read";
    let others = "for other numbers of tokens set \"usage.paths\"";
    assert_eq!(
        warnings(&configuration),
        [
            format!("spec.dataExtraction.response.inputTokens: {only}; {others}"),
            format!(
                "spec.dataExtraction.response.totaltokens: {only}, did you mean \"totalTokens\"?; {others}"
            ),
        ]
    );
    let none = changed(
        "/spec/dataExtraction",
        json!({ "response": { "totalTokens": null } }),
    );
    assert!(read(&none).policies[0].total_tokens.is_empty());
}

#[test]
fn routes_of_all_served_versions_are_read() {
    for version in ["v1", "v1beta1", "v1alpha2"] {
        let mut of_version = route(
            "llm",
            &json!({ "rules": [{ "timeouts": { "request": "10s" } }] }),
        );
        of_version["apiVersion"] = json!(format!("gateway.networking.k8s.io/{version}"));
        let configuration = read(&json!({ "policies": [tutorial()], "routes": [of_version] }));
        assert_eq!(names(&configuration), ["gateway-system/token-limits"]);
    }
}

#[test]
fn oldest_policy_of_a_target_wins() {
    let old = json!("2026-01-31T12:00:00Z");
    let new = json!("2026-02-01T00:00:00Z");
    for (first, second, winner, why) in [
        (&new, &old, "default/b", "older"),
        (&old, &new, "default/a", "older"),
        (&old, &old, "default/a", "first by name"),
        (&Value::Null, &Value::Null, "default/a", "first by name"),
        // What is not created yet is the newest.
        (&Value::Null, &new, "default/b", "older"),
        (&json!("yesterday"), &new, "default/b", "older"),
    ] {
        let [a, b] = [("a", first), ("b", second)]
            .map(|(name, created)| attached(name, "HTTPRoute", "llm", created.clone()));
        for (policies, places) in [([&a, &b], [0, 1]), ([&b, &a], [1, 0])] {
            let configuration = read(&json!({
                "policies": policies, "routes": [route("llm", &json!({}))]
            }));
            assert_eq!(names(&configuration), [winner], "{first} {second}");
            let [of_a, of_b] = places;
            let (kept, left_out) = if winner == "default/a" {
                (of_a, of_b)
            } else {
                (of_b, of_a)
            };
            assert_eq!(
                warnings(&configuration),
                [format!(
                    "policies[{left_out}]: found a second policy for its target, which is left out, as \"{winner}\" at policies[{kept}] is {why}; remove one of them, or merge them"
                )]
            );
        }
    }
    // Without routes, policies have no targets, and all apply.
    let both = ["a", "b"].map(|name| attached(name, "HTTPRoute", "llm", Value::Null));
    assert_eq!(effective(&read(&json!({ "policies": both }))), 2);
    // Sections of a target are targets of their own.
    let mut of_rule = attached("b", "HTTPRoute", "llm", Value::Null);
    of_rule["spec"]["targetRef"]["sectionName"] = json!("chat");
    let configuration = read(&json!({
        "policies": [both[0], of_rule], "routes": [route("llm", &json!({ "rules": [{ "name": "chat" }] }))]
    }));
    assert_eq!(names(&configuration), ["default/a", "default/b"]);
}

#[test]
fn lists_are_configurations() {
    let list = |kind: &str, items: Value| json!({ "apiVersion": "v1", "kind": kind, "metadata": { "resourceVersion": "" }, "items": items });
    let of_gateway = attached("a", "Gateway", "llm", Value::Null);
    let of_route = attached("b", "HTTPRoute", "llm", Value::Null);
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" } });
    let configuration = read(&list("List", json!([of_gateway, secret])));
    assert_eq!(names(&configuration), ["default/a"]);
    assert_eq!(effective(&configuration), 1);
    let configuration = read(&list(
        "TokenRateLimitPolicyList",
        json!([of_gateway, of_route]),
    ));
    assert_eq!(effective(&configuration), 2);
    // With routes, each policy applies where it is attached.
    let routes = list("HTTPRouteList", json!([route("llm", &json!({}))]));
    let configuration = read(&list("List", json!([of_gateway, of_route, routes])));
    assert_eq!(effective(&configuration), 1);

    let auth = json!({ "apiVersion": "kuadrant.io/v1", "kind": "AuthPolicy", "metadata": { "name": "a" }, "spec": {} });
    let configuration = read(&list("List", json!([of_gateway, auth])));
    assert_eq!(
        warnings(&configuration),
        [
            "items[1]: found the kind \"AuthPolicy\", which is left out; only TokenRateLimitPolicy and HTTPRoute are read"
        ]
    );

    let mut misspelt = of_gateway.clone();
    misspelt["kind"] = json!("TokenRatelimitPolicy");
    let mut wrong = of_gateway.clone();
    set(
        &mut wrong,
        "/spec/limits/all/rates/0/window",
        Some(json!("0s")),
    );
    for (items, expected) in [
        (
            json!([]),
            "configuration: found no policy, expected at least one TokenRateLimitPolicy",
        ),
        (
            json!([secret]),
            "configuration: found no policy, expected at least one TokenRateLimitPolicy",
        ),
        (
            json!([misspelt]),
            "items[0].kind: found \"TokenRatelimitPolicy\", expected \"TokenRateLimitPolicy\"",
        ),
        (
            json!([secret, wrong]),
            "items[1].spec.limits.all.rates[0].window: invalid duration \"0s\", expected more than zero",
        ),
        (
            json!([of_gateway, of_gateway]),
            "items[1]: duplicate policy \"default/a\", already given at items[0]",
        ),
        (json!([1]), "items[0]: found 1, expected an object"),
        (
            json!([of_route, route("other", &json!({}))]),
            "items[0].spec.targetRef.name: unknown route \"default/llm\", expected the namespace/name of one in \"routes\"",
        ),
    ] {
        assert_eq!(
            errors_of(list("List", items).to_string().as_bytes()),
            expected
        );
    }
}

#[test]
fn documents_can_be_separated() {
    let [policy, route] = [
        attached("a", "HTTPRoute", "llm", Value::Null),
        route("llm", &json!({ "hostnames": ["llm.example.com"] })),
    ]
    .map(|document| document.to_string());
    let secret = "{apiVersion: v1, kind: Secret}";
    let yaml =
        format!("# A policy\n---\n{policy}\n---\n# none\n---\n{route}\n---\n{secret}\n...\n");
    for parse in [parse_yaml, parse_carried] {
        let configuration = parse(yaml.as_bytes()).unwrap();
        assert_eq!(names(&configuration), ["default/a"]);
        assert_eq!(effective(&configuration), 0);
    }
    let other = policy.replace("1m", "0s").replace("\"a\"", "\"b\"");
    let two = format!("{policy}\n---\n{other}");
    let error = parse_carried(two.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        error,
        "documents[1].spec.limits.all.rates[0].window: invalid duration \"0s\", expected more than zero"
    );

    let plugin = format!("{{kind: WasmPlugin, spec: {{pluginConfig: {policy}}}}}");
    let yaml = format!("{secret}\n---\n{plugin}");
    assert_eq!(
        names(&parse_carried(yaml.as_bytes()).unwrap()),
        ["default/a"]
    );
    let yaml = format!("{secret}\n---\n{}", plugin.replace("1m", "0s"));
    let error = parse_carried(yaml.as_bytes()).unwrap_err().to_string();
    assert!(
        error.starts_with("documents[1].spec.pluginConfig.spec.limits.all.rates[0].window: "),
        "{error}"
    );
    let yaml = format!("{plugin}\n---\n{plugin}");
    let error = parse_carried(yaml.as_bytes()).unwrap_err().to_string();
    assert!(
        error.starts_with("configuration: found several plugin configurations"),
        "{error}"
    );
}

#[test]
fn many_policies_and_limits_are_read() {
    let limit = json!({ "rates": [{ "limit": 1, "window": "1s" }] });
    let limits = |count: usize| -> Value {
        let limits = (0..count).map(|n| (format!("l{n}"), limit.clone()));
        limits.collect::<serde_json::Map<String, Value>>().into()
    };
    let with = |name: &str, count| {
        let target =
            json!({ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": name });
        policy(
            name,
            &json!({ "targetRef": target, "limits": limits(count) }),
        )
    };
    assert_eq!(read(&with("p", 1024)).policies[0].limits.len(), 1024);
    assert_eq!(
        errors_of(with("p", 1025).to_string().as_bytes()),
        "spec.limits: found 1025 limits, expected at most 1024"
    );
    let policies = |count: usize, limits| -> Vec<Value> {
        (0..count).map(|n| with(&format!("p{n}"), limits)).collect()
    };
    let routes: Vec<Value> = (0..1024)
        .map(|n| {
            route(
                &format!("p{n}"),
                &json!({ "hostnames": [format!("h{n}.example.com")] }),
            )
        })
        .collect();
    let configuration = read(&json!({ "policies": policies(1024, 1), "routes": routes }));
    let host = |name: &str| (name == ":authority").then(|| "h1023.example.com".into());
    let effective = configuration.effective(host).unwrap();
    assert_eq!(effective[0].limits[0].policy, 1023);
    assert_eq!(
        errors_of(
            json!({ "policies": policies(1025, 1) })
                .to_string()
                .as_bytes()
        ),
        "policies: found 1025 policies, expected at most 1024"
    );
    assert_eq!(
        errors_of(
            json!({ "policies": policies(9, 1000) })
                .to_string()
                .as_bytes()
        ),
        "policies: found 9000 limits of all policies, expected at most 8192"
    );
}
