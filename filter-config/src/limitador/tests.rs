use std::collections::HashMap;

use cel::{Context, Program, Value};
use proptest::prelude::*;
use serde_json::json;

use super::{limits, value_of};
use crate::{Configuration, parse_yaml};

const POLICY: &str = r#"
apiVersion: kuadrant.io/v1alpha1
kind: TokenRateLimitPolicy
metadata: { name: token-limits, namespace: gateway-system }
spec:
  targetRef: { group: gateway.networking.k8s.io, kind: Gateway, name: llm }
  limits:
    free:
      rates: [ { limit: 50, window: 1m }, { limit: 1000, window: 1h30m } ]
      when:
      - predicate: request.path == "/v1/chat/completions"
      counters:
      - expression: auth.identity.userid
      - expression: |
          request.headers["x-team"]
    few-at-once: { concurrency: 4 }
"#;

fn configuration(yaml: &str) -> Configuration {
    parse_yaml(yaml.as_bytes()).unwrap()
}

/// A policy in the long form, with prices.
fn priced(policy: &str) -> Configuration {
    let policy = policy.trim().replace('\n', "\n  ");
    configuration(&format!(
        "pricing: {{ m: {{ input: 1, output: 2 }} }}\npolicies:\n- {policy}"
    ))
}

#[test]
fn a_rate_is_a_limit_as_kuadrants_operator_writes_it() {
    let limits = limits(&configuration(POLICY), None).unwrap();
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
fn requests_and_budgets_are_limits_of_their_own() {
    let policy = POLICY.replace(
        "{ concurrency: 4 }",
        "{ requests: [ { limit: 4, window: 1m } ], budgets: [ { usd: 12.5, window: 1d } ] }",
    );
    let limits = limits(&priced(&policy), None).unwrap();
    let hash = "6f85b957";
    let entries: Vec<_> = limits[2..]
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
fn the_namespace_is_the_domain_that_is_asked_with() {
    let policy = POLICY.trim().replace('\n', "\n  ");
    let long_form =
        |storage: &str| configuration(&format!("storage: {storage}\npolicies:\n- {policy}"));
    let namespace = |configuration: &Configuration, domain: Option<&str>| {
        limits(configuration, domain).unwrap()[0].namespace.clone()
    };
    let local = long_form("{ type: local }");
    let own = long_form("{ type: limitador, cluster: limitador }");
    let given = long_form("{ type: limitador, cluster: limitador, domain: llm }");
    assert_eq!(namespace(&local, None), "gateway-system/llm");
    assert_eq!(namespace(&own, None), "gateway-system/llm");
    assert_eq!(namespace(&given, None), "llm");
    for configuration in [local, own, given] {
        assert_eq!(namespace(&configuration, Some("other")), "other");
    }
}

#[test]
fn everything_that_limitador_cannot_enforce_is_named() {
    let policy = POLICY
        .replace(
            "{ concurrency: 4 }",
            "{ requests: [ { limit: 4, window: 2m, algorithm: bucket } ], budgets: [ { usd: 1, window: 1d, algorithm: calendar } ] }",
        )
        .replace("window: 1m", "window: 1m, algorithm: sliding")
        .replace("window: 1h30m", "window: 1500ms");
    let unfit = limits(&priced(&policy), None).unwrap_err();
    let unfit: Vec<String> = unfit.iter().map(ToString::to_string).collect();
    assert_eq!(
        unfit,
        [
            "gateway-system/token-limits: limits.free.rates[0]: limitador cannot enforce it: its windows are fixed",
            "gateway-system/token-limits: limits.free.rates[1]: limitador cannot enforce it: its windows are of whole seconds",
            "gateway-system/token-limits: limits.few-at-once.requests[0]: limitador cannot enforce it: its windows are fixed",
            "gateway-system/token-limits: limits.few-at-once.budgets[0]: limitador cannot enforce it: its windows are fixed",
        ]
    );
}

proptest! {
    #[test]
    fn whatever_a_key_is_its_expression_finds_its_value(key in ".*", other in ".*") {
        let program = Program::compile(&value_of(&key)).unwrap();
        let mut context = Context::default();
        let descriptor = HashMap::from([(other, "other"), (key, "own")]);
        context.add_variable_from_value("descriptors", vec![descriptor]);
        let value = program.execute(&context).unwrap();
        prop_assert_eq!(value, Value::from("own"));
    }
}
