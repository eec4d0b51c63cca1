//! Property tests: any bytes are a configuration or have errors.

use proptest::prelude::*;
use serde_json::Value;
use usage_meter::UsagePaths;

use crate::fixtures::{long_form, set, tutorial};
use crate::{bounds, parse};

/// Values of configurations, valid and invalid.
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
            "/a/0/b + /c",
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
            "input",
            "total",
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

/// All pointers into a document.
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

/// Parses, and checks that errors have a path and a message, and are bounded.
fn check(bytes: &[u8]) {
    if let Err(errors) = parse(bytes) {
        assert!(!errors.is_empty());
        assert!(errors.iter().count() <= bounds::VALIDATION_ERRORS);
        assert!(errors.iter().all(|error| !error.path().is_empty()));
        assert!(!errors.to_string().is_empty());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_handled(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
    }

    #[test]
    fn any_json_is_handled(value in json()) {
        check(value.to_string().as_bytes());
    }

    #[test]
    fn any_value_in_one_place_is_handled(
        at in any::<prop::sample::Index>(), value in json(), long in any::<bool>(),
    ) {
        let mut document = if long { long_form() } else { tutorial() };
        let mut places = Vec::new();
        pointers(&document, "", &mut places);
        let place: &String = at.get(&places);
        *document.pointer_mut(place).unwrap() = value;
        check(document.to_string().as_bytes());
    }

    #[test]
    fn changed_bytes_are_handled(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = tutorial().to_string().into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        check(&bytes);
    }

    #[test]
    fn any_usage_path_is_handled(path in "([/~+ a0]|/a|/0| \\+ ){0,40}", name in "(input|output|total|cached|x)") {
        let mut document = long_form();
        let paths = serde_json::json!({ name: path });
        set(&mut document, "/usage", Some(serde_json::json!({ "paths": paths })));
        if let Ok(configuration) = parse(document.to_string().as_bytes()) {
            // The module accepts what the configuration accepts.
            let paths = configuration.usage.paths.iter();
            let paths = UsagePaths::new(paths.map(|(number, pointer)| (*number, pointer)));
            prop_assert!(paths.is_ok());
        }
        check(document.to_string().as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_predicate_is_handled(predicate in "\\PC{0,60}") {
        let mut document = tutorial();
        set(&mut document, "/spec/limits/free/when/0/predicate", Some(predicate.into()));
        check(document.to_string().as_bytes());
    }

    #[test]
    fn any_predicate_like_text_is_handled(
        predicate in "((request|auth|llm|model|g|size|has|usage|filter_state|'a'|1|\\[|\\]|\\(|\\)|\\.|\\.\\?|path|all|==|&&|,|\\?|:|!|-|\\{|\\}) ?){0,30}",
    ) {
        let mut document = tutorial();
        set(&mut document, "/spec/limits/free/when/0/predicate", Some(predicate.into()));
        check(document.to_string().as_bytes());
    }
}
