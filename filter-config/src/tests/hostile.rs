//! Whatever the bytes, there is a configuration or there are faults.

use proptest::prelude::*;
use serde_json::Value;

use super::{long_form, tutorial};
use crate::{bounds, parse};

/// Pieces of configurations, right and wrong.
fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        prop::sample::select(vec![
            "1m",
            "0s",
            "request.path",
            "auth.a == 1",
            "TokenRateLimitPolicy",
            "deny",
            "local",
            "usage.total_tokens",
            "llm.model",
            "calendar",
            "/usage/total_tokens",
            "duration('1s')",
            "a.b(",
            "'",
            "((((",
        ])
        .prop_map(Value::from),
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,10}",
        prop::sample::select(vec![
            "policies",
            "spec",
            "kind",
            "limits",
            "rates",
            "when",
            "counters",
            "predicate",
            "limit",
            "window",
            "auth",
            "header",
            "storage",
            "replies",
            "metadata",
            "defaults",
            "dataExtraction",
            "algorithm",
            "concurrency",
            "alertAt",
            "shadow",
            "reservation",
            "amount",
            "ttl",
            "usage",
            "paths",
        ])
        .prop_map(str::to_owned),
    ]
}

fn json() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Every place in a document.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                pointers(value, &format!("{at}/{}", name.replace('/', "~1")), all);
            }
        }
        Value::Array(items) => {
            for (position, value) in items.iter().enumerate() {
                pointers(value, &format!("{at}/{position}"), all);
            }
        }
        _ => {}
    }
}

/// Parses, and sees to it that a refusal says why, where, and not without end.
fn outcome(bytes: &[u8]) {
    if let Err(faults) = parse(bytes) {
        assert!(!faults.is_empty());
        assert!(faults.iter().count() <= bounds::FAULTS);
        assert!(faults.iter().all(|fault| !fault.path.is_empty()));
        assert!(!faults.to_string().is_empty());
    }
}

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        outcome(&bytes);
    }

    #[test]
    fn any_json(value in json()) {
        outcome(value.to_string().as_bytes());
    }

    #[test]
    fn a_right_configuration_with_anything_in_one_place(
        at in any::<prop::sample::Index>(), value in json(), long in any::<bool>(),
    ) {
        let mut document = if long { long_form() } else { tutorial() };
        let mut places = Vec::new();
        pointers(&document, "", &mut places);
        let place: &String = at.get(&places);
        *document.pointer_mut(place).unwrap() = value;
        outcome(document.to_string().as_bytes());
    }

    #[test]
    fn a_right_configuration_with_some_bytes_changed(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = tutorial().to_string().into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        outcome(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        outcome(&bytes);
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_right_policy_with_any_predicate(predicate in "\\PC{0,60}") {
        let mut document = tutorial();
        super::set(&mut document, "/spec/limits/free/when/0/predicate", Some(predicate.into()));
        outcome(document.to_string().as_bytes());
    }

    #[test]
    fn a_right_policy_with_a_predicate_like_one(
        predicate in "((request|auth|llm|model|g|size|has|usage|filter_state|'a'|1|\\[|\\]|\\(|\\)|\\.|\\.\\?|path|all|==|&&|,|\\?|:|!|-|\\{|\\}) ?){0,30}",
    ) {
        let mut document = tutorial();
        super::set(&mut document, "/spec/limits/free/when/0/predicate", Some(predicate.into()));
        outcome(document.to_string().as_bytes());
    }
}
