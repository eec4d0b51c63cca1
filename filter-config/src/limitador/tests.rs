//! Tests of limits in limitador's format.

use std::collections::HashMap;

use cel::{Context, Program, Value};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{limits, value_of};
use crate::configuration::Configuration;
use crate::fixtures::{policy, read, set};

/// A policy with two rates, two counters, and a limit without rates.
fn two_limits() -> Json {
    let limits = json!({
        "free": {
            "rates": [{ "limit": 50, "window": "1m" }, { "limit": 1000, "window": "1h30m" }],
            "when": [{ "predicate": "request.path == \"/v1/chat/completions\"" }],
            "counters": [
                { "expression": "auth.identity.userid" },
                { "expression": "request.headers[\"x-team\"]\n" }
            ]
        },
        "few-at-once": { "concurrency": 4 }
    });
    let mut policy = policy("token-limits", &json!({ "limits": limits }));
    policy["metadata"]["namespace"] = json!("gateway-system");
    policy
}

/// A configuration with this policy and with prices.
fn priced(policy: &Json) -> Configuration {
    let pricing = json!({ "m": { "input": 1, "output": 2 } });
    read(&json!({ "policies": [policy], "pricing": pricing }))
}

#[test]
fn rates_match_kuadrants_operator() {
    let limits = limits(&read(&two_limits()), None).unwrap();
    let entry = |max_value: u64, seconds: u64| {
        json!({
            "name": "free",
            "namespace": "gateway-system/llm",
            "max_value": max_value,
            "seconds": seconds,
            "conditions": [r#"descriptors[0]["tokenlimit.free__c192d660"] == "1""#],
            "variables": [
                r#"descriptors[0]["auth.identity.userid"]"#,
                r#"descriptors[0]["request.headers[\"x-team\"]"]"#,
            ],
        })
    };
    assert_eq!(
        serde_json::to_value(limits).unwrap(),
        json!([entry(50, 60), entry(1000, 5400)])
    );
}

#[test]
fn requests_and_budgets_are_separate_limits() {
    let mut policy = two_limits();
    let limit = json!({
        "requests": [{ "limit": 4, "window": "1m" }], "budgets": [{ "usd": 12.5, "window": "1d" }]
    });
    set(&mut policy, "/spec/limits/few-at-once", Some(limit));
    let limits = limits(&priced(&policy), None).unwrap();
    let hash = "6f85b957";
    let entries: Vec<_> = limits[..2]
        .iter()
        .map(|limit| (limit.max_value, limit.seconds, &*limit.conditions[0]))
        .collect();
    assert_eq!(
        entries,
        [
            (
                4,
                60,
                &*format!(r#"descriptors[0]["limit.few_at_once__{hash}"] == "1""#)
            ),
            (
                12_500_000_000,
                86_400,
                &*format!(r#"descriptors[0]["budget.few_at_once__{hash}"] == "1""#)
            ),
        ]
    );
}

#[test]
fn namespace_is_the_storage_domain() {
    let long_form =
        |storage: Json| read(&json!({ "storage": storage, "policies": [two_limits()] }));
    let namespace = |configuration: &Configuration, domain: Option<&str>| {
        limits(configuration, domain).unwrap()[0].namespace.clone()
    };
    let local = long_form(json!({ "type": "local" }));
    let own = long_form(json!({ "type": "limitador", "cluster": "limitador" }));
    let given = long_form(json!({ "type": "limitador", "cluster": "limitador", "domain": "llm" }));
    assert_eq!(namespace(&local, None), "gateway-system/llm");
    assert_eq!(namespace(&own, None), "gateway-system/llm");
    assert_eq!(namespace(&given, None), "llm");
    for configuration in [local, own, given] {
        assert_eq!(namespace(&configuration, Some("other")), "other");
    }
}

#[test]
fn every_unsupported_part_is_reported() {
    let mut policy = two_limits();
    for (pointer, value) in [
        ("/free/rates/0/algorithm", json!("sliding")),
        ("/free/rates/1/window", json!("1500ms")),
        (
            "/few-at-once",
            json!({
                "requests": [{ "limit": 4, "window": "2m", "algorithm": "bucket" }],
                "budgets": [{ "usd": 1, "window": "1d", "algorithm": "calendar" }]
            }),
        ),
    ] {
        set(&mut policy, &format!("/spec/limits{pointer}"), Some(value));
    }
    let unsupported = limits(&priced(&policy), None).unwrap_err();
    let unsupported: Vec<String> = unsupported.iter().map(ToString::to_string).collect();
    assert_eq!(
        unsupported,
        [
            "gateway-system/token-limits: limits.few-at-once.requests[0]: not supported by limitador, expected the algorithm \"fixed\"",
            "gateway-system/token-limits: limits.few-at-once.budgets[0]: not supported by limitador, expected the algorithm \"fixed\"",
            "gateway-system/token-limits: limits.free.rates[0]: not supported by limitador, expected the algorithm \"fixed\"",
            "gateway-system/token-limits: limits.free.rates[1]: not supported by limitador, expected a window of whole seconds",
        ]
    );
}

proptest! {
    #[test]
    fn value_expressions_find_any_key(key in ".*", other in ".*") {
        let program = Program::compile(&value_of(&key)).unwrap();
        let mut context = Context::default();
        let descriptor = HashMap::from([(other, "other"), (key, "own")]);
        context.add_variable_from_value("descriptors", vec![descriptor]);
        let value = program.execute(&context).unwrap();
        prop_assert_eq!(value, Value::from("own"));
    }
}
