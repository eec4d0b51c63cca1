//! Fixtures for tests: policies, routes and configurations.

use serde_json::{Value, json};

use crate::configuration::Configuration;

/// The policy of Kuadrant's tutorial on limiting the tokens of LLM APIs.
pub(crate) fn tutorial() -> Value {
    let limit = |tier: &str, tokens: u64| {
        json!({
            "rates": [{ "limit": tokens, "window": "1m" }],
            "when": [
                { "predicate": "request.path == \"/v1/chat/completions\"" },
                { "predicate": format!("auth.identity.groups.split(\",\").exists(g, g == \"{tier}\")\n") }
            ],
            "counters": [{ "expression": "auth.identity.userid" }]
        })
    };
    let limits = json!({ "free": limit("free", 50), "gold": limit("gold", 200) });
    let mut policy = policy("token-limits", &json!({ "limits": limits }));
    policy["metadata"]["namespace"] = json!("gateway-system");
    policy
}

/// A policy with this `spec`, attached to the gateway `llm` if that has no other target.
pub(crate) fn policy(name: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    if spec.get("targetRef").is_none() {
        spec["targetRef"] =
            json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "llm" });
    }
    json!({
        "apiVersion": "kuadrant.io/v1alpha1", "kind": "TokenRateLimitPolicy",
        "metadata": { "name": name }, "spec": spec
    })
}

/// A route with this `spec`.
pub(crate) fn route(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": { "name": name }, "spec": spec
    })
}

/// The smallest long form: the tutorial's policy.
pub(crate) fn long_form() -> Value {
    json!({ "policies": [tutorial()] })
}

/// Puts `value` where `pointer` leads, or removes what is there.
pub(crate) fn set(document: &mut Value, pointer: &str, value: Option<Value>) {
    let (parent, last) = pointer.rsplit_once('/').expect("a pointer");
    let parent = document.pointer_mut(parent).expect("a parent");
    match (parent, value) {
        (Value::Object(fields), Some(value)) => {
            fields.insert(last.replace("~1", "/"), value);
        }
        (Value::Object(fields), None) => {
            fields.remove(last);
        }
        (Value::Array(items), Some(value)) => {
            let position: usize = last.parse().expect("a position");
            if position < items.len() {
                items[position] = value;
            } else {
                items.push(value);
            }
        }
        (parent, _) => panic!("{parent} has nothing below it"),
    }
}

/// Reads a valid configuration.
pub(crate) fn read(document: &Value) -> Configuration {
    crate::parse(document.to_string().as_bytes()).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The validation errors of a configuration, or `accepted`.
pub(crate) fn errors_of(json: &[u8]) -> String {
    match crate::parse(json) {
        Ok(_) => "accepted".to_owned(),
        Err(errors) => errors.to_string(),
    }
}

/// A pointer into a document, the value that is put there, and the errors that the document then has.
pub(crate) type Case<'a> = (&'a str, Option<Value>, &'a str);

/// Changes `document` in one place at a time and compares its errors.
pub(crate) fn assert_errors<'a>(document: &Value, cases: impl IntoIterator<Item = Case<'a>>) {
    let mut differences = Vec::new();
    for (pointer, value, expected) in cases {
        let change = format!("{pointer} = {value:?}");
        let mut document = document.clone();
        set(&mut document, pointer, value);
        let found = errors_of(document.to_string().as_bytes());
        if found != expected {
            differences.push(format!(
                "{change}\n    expected {expected}\n    found    {found}"
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
