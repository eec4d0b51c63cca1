//! The plugin configurations that are measured, with limits that no load exhausts.

use envoy_test::{remote, tutorial};
use serde_json::{Value, json};

use crate::error::Error;

/// The domain of Envoy's own rate limit filter.
pub(crate) const DOMAIN: &str = "bench";
/// The descriptor entry of Envoy's own rate limit filter.
pub(crate) const COUNTER: &str = "auth.identity.userid";
/// More than any load can use.
const LIMIT: u64 = 1_000_000_000_000;

/// Returns a configuration with the limits of a policy raised, in which headers identify the caller.
pub(crate) fn configuration(mut policy: Value) -> Value {
    let limits = policy["spec"]["limits"].as_object_mut();
    for (_, limit) in limits.into_iter().flatten() {
        let rates = limit.get_mut("rates").and_then(Value::as_array_mut);
        for rate in rates.into_iter().flatten() {
            rate["limit"] = LIMIT.into();
        }
    }
    json!({
        "policies": [policy],
        "auth": [{ "header": { "identity.userid": "x-user-id", "identity.groups": "x-groups" } }],
    })
}

/// Returns the configuration of Kuadrant's tutorial.
pub(crate) fn tutorial() -> Value {
    configuration(tutorial::policy())
}

/// Returns the configuration of Kuadrant's tutorial with the counters in limitador.
pub(crate) fn remote_tutorial() -> Value {
    let mut configuration = tutorial();
    configuration["storage"] = remote::Protocol::Reserve.storage();
    configuration
}

/// Returns the same with leases.
pub(crate) fn leasing_tutorial() -> Value {
    let mut configuration = remote_tutorial();
    configuration["storage"]["lease"] = json!({ "amount": 1_000_000 });
    configuration
}

/// Returns ten limits that all apply to each caller, each with its own cost expression, and a budget.
pub(crate) fn ten_costs() -> Value {
    let mut limits = serde_json::Map::new();
    for weight in 0..10 {
        let limit = json!({
            "cost": format!("usage.input_tokens + usage.output_tokens * {weight}"),
            "rates": [{ "limit": 1, "window": "1m" }],
            "counters": [{ "expression": "auth.identity.userid" }],
        });
        limits.insert(format!("weight-{weight}"), limit);
    }
    let mut policy = tutorial::policy();
    policy["spec"]["limits"] = limits.into();
    policy["spec"]["limits"]["money"] = json!({
        "budgets": [{ "usd": "1000000", "window": "24h" }],
        "counters": [{ "expression": "auth.identity.userid" }],
    });
    let mut configuration = configuration(policy);
    configuration["pricing"] = json!({
        "gpt-*": { "input": 2.5, "output": 10 },
        "default": { "input": 1, "output": 1 },
    });
    configuration
}

/// Returns three limits that all apply: for each caller, for each group and for all callers.
pub(crate) fn three_limits() -> Value {
    let limit = |counters: &[&str]| {
        let counters = counters
            .iter()
            .map(|counter| json!({ "expression": counter }));
        json!({
            "rates": [{ "limit": 1, "window": "1m" }, { "limit": 1, "window": "24h" }],
            "when": [{ "predicate": "request.path == \"/v1/chat/completions\"" }],
            "counters": counters.collect::<Vec<_>>(),
        })
    };
    let mut policy = tutorial::policy();
    policy["spec"]["limits"] = json!({
        "caller": limit(&["auth.identity.userid"]),
        "group": limit(&["auth.identity.groups"]),
        "all": limit(&[]),
    });
    configuration(policy)
}

/// Returns two limits for each subscription, `count` in all: the caller has one of the subscriptions.
pub(crate) fn subscriptions(count: usize) -> Value {
    let mut limits = serde_json::Map::new();
    for index in 0..count {
        let subscription = index / 2;
        let (name, window) = [("minute", "1m"), ("day", "24h")][index % 2];
        let predicate =
            format!(r#"auth.identity.groups.split(",").exists(g, g == "sub-{subscription}")"#);
        let limit = json!({
            "rates": [{ "limit": 1, "window": window }],
            "when": [
                { "predicate": "request.path == \"/v1/chat/completions\"" },
                { "predicate": predicate },
            ],
            "counters": [{ "expression": "auth.identity.userid" }],
        });
        limits.insert(format!("sub-{subscription}-{name}"), limit);
    }
    let mut policy = tutorial::policy();
    policy["spec"]["limits"] = limits.into();
    configuration(policy)
}

/// Returns limitador's limits for Envoy's own filter and for the configuration with its counters there, in limitador's
/// format.
pub(crate) fn service_limits() -> Result<String, Error> {
    let mut limits = vec![remote::limit(DOMAIN, COUNTER, LIMIT, 60)];
    limits.extend(remote::limits(&remote_tutorial())?);
    Ok(Value::from(limits).to_string())
}
