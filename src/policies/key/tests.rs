//! Where counters lie.

use crate::host::double::{Call, Double};
use crate::testing::{Filter, per_user};
use serde_json::{Map, Value, json};

/// What the keys of pages begin with.
const PAGE: &[u8] = b"tollgate\x01";

/// The bytes of a counter on a page.
const COUNTER_BYTES: usize = 88;

/// Returns the sizes of the pages.
fn pages(host: &Double) -> Vec<usize> {
    let shared = host.shared.borrow();
    let pages = shared.iter().filter(|(key, _)| key.starts_with(PAGE));
    pages.map(|(_, (page, _))| page.len()).collect()
}

/// Returns a limit without counters on one caller.
fn on(user: &str) -> Value {
    json!({
        "rates": [{ "limit": 50, "window": "1h" }],
        "when": [{ "predicate": format!("auth.user == \"{user}\"") }],
    })
}

#[test]
fn limits_without_counters_spread_over_pages() {
    let users: Vec<String> = (0..500).map(|index| format!("user-{index}")).collect();
    let limits: Map<String, Value> = users
        .iter()
        .map(|user| (format!("of-{user}"), on(user)))
        .collect();
    let filter = Filter::new(&limits.into(), &json!({}));
    for user in &users {
        assert_eq!(filter.admit(user, 10).charges.len(), 1);
    }
    let pages = pages(&filter.host);
    assert!((32..=64).contains(&pages.len()), "{pages:?}");
    let largest = pages.iter().max().unwrap() / COUNTER_BYTES;
    assert!(largest < 50, "{largest} counters");
    for user in &users {
        let counter = filter.admit(user, 10).charges[0].counter;
        assert_eq!(counter.standing.reserved, 10, "of its own: {user}");
    }
}

#[test]
fn many_limits_without_counters_have_few_pages() {
    let limit = |index| (format!("limit-{index}"), on("alice"));
    let limits: Map<String, Value> = (0..500).map(limit).collect();
    let filter = Filter::new(&limits.into(), &json!({}));
    assert_eq!(filter.admit("alice", 10).charges.len(), 500);
    let pages = pages(&filter.host);
    assert!(pages.len() <= 64, "{}", pages.len());
}

#[test]
fn limits_of_one_caller_share_page() {
    let limits = json!({ "a": per_user(50), "b": per_user(60), "c": per_user(70) });
    let filter = Filter::new(&limits, &json!({}));
    filter.host.calls.borrow_mut().clear();
    assert_eq!(filter.admit("alice", 10).charges.len(), 3);
    let [read, written] = [Call::SharedData, Call::SetSharedData];
    assert_eq!(filter.host.count(read), 1);
    assert_eq!(filter.host.count(written), 1);
}

#[test]
fn counter_without_values_survives_other_changes() {
    let limit = json!({ "rates": [{ "limit": 50, "window": "1h" }] });
    let filter = Filter::new(&json!({ "all": limit }), &json!({}));
    filter.admit("alice", 30);
    let mut changed = on("bob");
    changed["rates"][0]["limit"] = 70.into();
    let limits = json!({ "added": per_user(50), "all": changed, "other": on("bob") });
    let filter = filter.reconfigured(&limits, &json!({}));
    let rejection = filter.reject("bob", 60);
    assert_eq!(rejection.charge.counter.standing.limit, 70);
    assert_eq!(rejection.charge.counter.standing.reserved, 30);
}
