//! Random bodies: whatever names they have, no bound is above the one that is set.

use proptest::prelude::*;
use serde_json::Value;

use super::{CHAT, bound_of};
use crate::request::{Endpoint, OutputBound};

/// Names of bounds, in containers of several APIs.
const BOUNDS: [&str; 5] = [
    "max_tokens",
    "max_completion_tokens",
    "max_new_tokens",
    "maxOutputTokens",
    "num_predict",
];
const CONTAINERS: [&str; 3] = ["options", "extra_body", "generationConfig"];

fn bodies() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..2_000).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "[0-9]{1,4}|[a-z]".prop_map(Value::from),
    ];
    let keys = || {
        let names = BOUNDS
            .iter()
            .chain(&CONTAINERS)
            .chain(&["n", "temperature"]);
        let names: Vec<String> = names.map(|name| (*name).to_owned()).collect();
        prop::sample::select(names)
    };
    let object = leaf.prop_recursive(4, 24, 5, move |inner| {
        let members = prop::collection::btree_map(keys(), inner, 0..5);
        members.prop_map(|map| Value::Object(map.into_iter().collect()))
    });
    prop::collection::btree_map(keys(), object, 0..6)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

/// All bounds of a body, wherever a server may read them.
fn bounds(body: &Value) -> Vec<&Value> {
    let Value::Object(members) = body else {
        return Vec::new();
    };
    let of_member = |(name, value): (&String, _)| match name.as_str() {
        name if BOUNDS.contains(&name) => vec![value],
        name if CONTAINERS.contains(&name) => bounds(value),
        _ => Vec::new(),
    };
    members.iter().flat_map(of_member).collect()
}

proptest! {
    #[test]
    fn no_bound_exceeds_the_set_one(body in bodies(), tokens in 1..1_000_u64) {
        let text = body.to_string();
        let bound = bound_of(CHAT, &text);
        prop_assume!(bound.is_some());
        let bound = bound.unwrap();
        if let Some(own) = bound.tokens() {
            for value in bounds(&body) {
                prop_assert!(value.as_u64().is_none_or(|value| value <= own), "{body}");
            }
        }
        let changed = bound.set(tokens).unwrap();
        let changed: Value = serde_json::from_slice(&changed).unwrap();
        let before = bounds(&body);
        let after = bounds(&changed);
        let is_own = |body: &Value| {
            let own = [&body["max_tokens"], &body["max_completion_tokens"]];
            own.iter().any(|value| value.is_u64())
        };
        prop_assert!(is_own(&changed), "{changed}");
        for value in &after {
            let is_within = value.as_u64().is_some_and(|value| (1..=tokens).contains(&value));
            prop_assert!(value.is_null() || is_within, "{changed}");
        }
        prop_assert!(after.len() == before.len() || after.len() == before.len() + 1);
    }

    #[test]
    fn any_bytes_do_not_panic(body: Vec<u8>, text in "[\\[\\]{}\":,a-z0-9 ]{0,64}") {
        for body in [body.as_slice(), text.as_bytes()] {
            let endpoint = Endpoint::of_path(CHAT).unwrap();
            if let Some(bound) = OutputBound::of(body, &endpoint, None) {
                prop_assert!(bound.set(7).is_some());
            }
        }
    }
}
