//! Tests of whole configurations.

mod faults;
mod forms;
mod hostile;
mod schema;

use serde_json::{Value, json};

/// The policy of Kuadrant's tutorial on limiting the tokens of LLM APIs.
fn tutorial() -> Value {
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
    json!({
        "apiVersion": "kuadrant.io/v1alpha1",
        "kind": "TokenRateLimitPolicy",
        "metadata": { "name": "token-limits", "namespace": "gateway-system" },
        "spec": {
            "targetRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "llm" },
            "limits": { "free": limit("free", 50), "gold": limit("gold", 200) }
        }
    })
}

/// The smallest long form.
pub(crate) fn long_form() -> Value {
    json!({ "policies": [tutorial()] })
}

/// Puts `value` where `pointer` leads, or takes away what is there.
fn set(document: &mut Value, pointer: &str, value: Option<Value>) {
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
