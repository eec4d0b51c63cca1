//! What makes requests those of one caller.

use super::CallerId;
use crate::testing::Filter;
use serde_json::{Value, json};

/// Returns limits that count by these expressions.
fn counted_by(expressions: &[&str]) -> Filter {
    let limit = |counter: &&str| {
        json!({
            "rates": [{ "limit": 50, "window": "1m" }],
            "counters": [{ "expression": counter }, { "expression": "request.headers['x-group']" }],
        })
    };
    let limits: Vec<Value> = expressions.iter().map(limit).collect();
    let limits: Value = limits
        .into_iter()
        .enumerate()
        .map(|(index, limit)| (format!("l{index}"), limit))
        .collect::<serde_json::Map<_, _>>()
        .into();
    Filter::new(&limits, &json!({}))
}

fn caller(filter: &Filter, user: &str, group: &str, address: &str) -> CallerId {
    let host = &*filter.host;
    host.set_property(&["source", "address"], address.as_bytes());
    let mut attributes = filter.attributes(user, &[("x-group", group)]);
    filter.policies.caller(&mut attributes, host)
}

#[test]
fn identity_is_what_others_have_established() {
    let filter = counted_by(&["auth.user", "request.path"]);
    let of = |user, group, address| caller(&filter, user, group, address);
    let alice = of("alice", "a", "10.0.0.1:1000");
    assert_eq!(alice, of("alice", "b", "10.0.0.2:2000"));
    assert_ne!(alice, of("bob", "a", "10.0.0.1:1000"));
    let unknown = of("", "a", "10.0.0.1:1000");
    assert_eq!(unknown, of("", "b", "10.0.0.1:2000"), "its address");
    assert_ne!(unknown, of("", "a", "10.0.0.2:1000"));
    assert_ne!(unknown, alice);
}

#[test]
fn client_controlled_counters_identify_no_caller() {
    for expression in [
        "request.headers['x-user']",
        "llm.?model.orValue('')",
        "auth.user + request.headers['x-group']",
        "connection.id",
        "'all'",
    ] {
        let filter = counted_by(&[expression]);
        let alice = caller(&filter, "alice", "a", "10.0.0.1:1000");
        assert_eq!(
            alice,
            caller(&filter, "bob", "b", "10.0.0.1:2"),
            "{expression}"
        );
        assert_ne!(
            alice,
            caller(&filter, "alice", "a", "10.0.0.2:1000"),
            "{expression}"
        );
    }
}

#[test]
fn addresses_in_one_network_are_one_caller() {
    let filter = counted_by(&["request.path"]);
    let of = |address| caller(&filter, "alice", "a", address);
    assert_eq!(of("[2001:db8:1:2::1]:80"), of("[2001:db8:1:2:ffff::9]:81"));
    assert_ne!(of("[2001:db8:1:2::1]:80"), of("[2001:db8:1:3::1]:80"));
    assert_eq!(of("[::ffff:10.0.0.1]:80"), of("10.0.0.1:81"));
    assert_ne!(of("@one"), of("@two"));
    assert_eq!(of(""), of(""));
}
