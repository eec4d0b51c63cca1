//! Admission, apart from a whole stream.

use super::{AdmissionError, Arrival, Place};
use crate::attributes::Body;
use crate::ledger::Verdict;
use crate::policies::{CallerId, RateIndex};
use crate::testing::{Filter, per_user};
use limits::Nanos;
use serde_json::json;

fn with_limit(limit: &serde_json::Value) -> Filter {
    Filter::new(&json!({ "free": limit }), &json!({}))
}

#[test]
fn limit_applies_if_all_predicates_are_true() {
    let mut free = per_user(50);
    free["when"] = json!([{ "predicate": "request.headers['x-tier'] == 'free'" }]);
    let filter = Filter::new(&json!({ "free": free, "all": per_user(100) }), &json!({}));
    for (tier, expected) in [("free", 2), ("gold", 1)] {
        let mut attributes = filter.attributes("alice", &[("x-tier", tier)]);
        let applicable = filter.applicable(&mut attributes).unwrap();
        assert_eq!(applicable.charges.len(), expected, "{tier}");
    }
}

#[test]
fn missing_value_in_predicate_skips_limit() {
    let mut limit = per_user(50);
    limit["when"] = json!([{ "predicate": "request.headers['x-tier'] == 'free'" }]);
    let filter = with_limit(&limit);
    let mut attributes = filter.attributes("alice", &[]);
    assert!(filter.applicable(&mut attributes).unwrap().is_empty());
    assert_eq!(filter.host.metric("tollgate.missing_values"), 1);
}

#[test]
fn leaving_value_out_does_not_switch_off_limit() {
    for predicate in [
        "request.headers['x-tier'] != 'gold'",
        "auth.tier != 'gold'",
        "!('admin' in auth.roles)",
        "!auth.groups.split(',').exists(g, g == 'admin')",
        "requestBodyJSON('/stream') != true",
        "llm.model != 'small'",
    ] {
        let mut limit = per_user(50);
        limit["when"] = json!([{ "predicate": predicate }]);
        let filter = with_limit(&limit);
        let mut attributes = filter.attributes("alice", &[]);
        // What an unread body hides is missing as well.
        attributes.body = Body::Opaque;
        let applicable = filter.applicable(&mut attributes).unwrap();
        assert_eq!(applicable.charges.len(), 1, "{predicate}");
        assert_eq!(filter.host.metric("tollgate.missing_values"), 0);
    }
}

#[test]
fn missing_counter_value_follows_failure_mode() {
    let filter = with_limit(&per_user(50));
    let error = filter.applicable(&mut filter.attributes("", &[]));
    let error = error.unwrap_err().to_string();
    assert_eq!(
        error,
        "policy test/llm: limits.free.counters[0]: no value of auth"
    );

    let limits = json!({ "free": per_user(50) });
    let filter = Filter::new(&limits, &json!({ "failureMode": "allow" }));
    let applicable = filter.applicable(&mut filter.attributes("", &[])).unwrap();
    assert!(applicable.is_empty() && applicable.failed_open);
    assert_eq!(
        filter.lines(),
        [
            "warn request_unauthenticated policy=test/llm at=limits.free.counters[0] msg=\"auth has no value\""
        ]
    );
}

#[test]
fn missing_identity_is_named_if_it_is_a_claim() {
    let claim = |expression: &str| {
        let limit = json!({
            "rates": [{ "limit": 50, "window": "1m" }],
            "counters": [{ "expression": expression }]
        });
        let filter = with_limit(&limit);
        let error = filter.applicable(&mut filter.attributes("", &[]));
        match error.unwrap_err() {
            AdmissionError::Unauthenticated { claim, .. } => claim,
            error => panic!("{expression}: {error}"),
        }
    };
    let long = format!("auth.{}", "a".repeat(123));
    for path in ["auth.user", "auth.org_2.id", &*long] {
        assert_eq!(claim(path).as_deref(), Some(path));
    }
    assert_eq!(claim(" auth.user ").as_deref(), Some("auth.user"));
    // Others may have literals that are not for callers, or are too long for a reply.
    let longer = format!("{long}a");
    for other in [
        "auth.user + '-eu'",
        "string(auth.user)",
        "auth['user']",
        &*longer,
    ] {
        assert_eq!(claim(other), None, "{other}");
    }
}

#[test]
fn predicate_on_body_waits_for_it() {
    let mut limit = per_user(50);
    limit["when"] = json!([{ "predicate": "requestBodyJSON('/model') == 'm'" }]);
    let filter = with_limit(&limit);
    let mut attributes = filter.attributes("alice", &[]);
    attributes.body = Body::Pending;
    let applicable = filter.applicable(&mut attributes).unwrap();
    assert!(applicable.depends_on_body && applicable.is_empty());
    attributes.body = Body::parse(br#"{"model":"m"}"#, true, &["/model"]);
    let applicable = filter.applicable(&mut attributes).unwrap();
    assert!(!applicable.depends_on_body && applicable.charges.len() == 1);
}

#[test]
fn amount_that_reads_the_body_waits_for_it() {
    let reading = |expression: &str| {
        let mut limit = per_user(50);
        limit["reservation"] = json!({ "amount": expression });
        limit
    };
    let (body, plain) = (reading("int(requestBodyJSON('/n'))"), reading("7"));
    for (limits, needs_body) in [
        (json!({ "a": body, "b": plain }), true),
        (json!({ "a": plain, "b": body }), true),
        (json!({ "a": plain, "b": plain }), false),
    ] {
        let filter = Filter::new(&limits, &json!({}));
        let mut attributes = filter.attributes("alice", &[]);
        attributes.body = Body::Pending;
        let applicable = filter.applicable(&mut attributes).unwrap();
        assert_eq!(applicable.amount_needs_body, needs_body, "{limits}");
        attributes.body = Body::parse(br#"{"n":7}"#, true, &["/n"]);
        let applicable = filter.applicable(&mut attributes).unwrap();
        assert!(!applicable.amount_needs_body, "{limits}");
    }
}

#[test]
fn computed_limit_is_clamped_to_bounds() {
    let filter = with_limit(&json!({
        "rates": [{
            "limit": "int(request.headers['x-limit'])", "min": 10, "max": 100, "window": "1m"
        }],
        "counters": [{ "expression": "auth.user" }]
    }));
    for (header, limit) in [("5", 10), ("50", 50), ("5000", 100)] {
        let mut attributes = filter.attributes("alice", &[("x-limit", header)]);
        let applicable = filter.applicable(&mut attributes).unwrap();
        assert_eq!(applicable.charges[0].counter.limit, limit);
    }
}

#[test]
fn lone_request_may_exceed_what_is_left() {
    let filter = with_limit(&per_user(50));
    let admission = filter.admit("alice", 60);
    assert_eq!(admission.charges[0].counter.amount, 50, "clamped");
    let rejection = filter.reject("alice", 1);
    let standing = rejection.charge.counter.standing;
    assert_eq!((standing.used, standing.reserved), (0, 50));
    assert!(standing.is_only_reserved());
    filter.admit("bob", 60);
}

#[test]
fn concurrent_requests_fit_beside_each_other() {
    let filter = with_limit(&per_user(50));
    filter.admit("alice", 30);
    filter.admit("alice", 20);
    assert_eq!(filter.reject("alice", 1).charge.rate, RateIndex::new(0));
}

#[test]
fn all_limits_reserve_or_none() {
    let limits = json!({
        "hour": {
            "rates": [{ "limit": 10, "window": "1h" }],
            "counters": [{ "expression": "auth.user" }]
        },
        "minute": per_user(50)
    });
    let filter = Filter::new(&limits, &json!({}));
    filter.admit("alice", 5);
    filter.reject("alice", 6);
    let admission = filter.admit("alice", 5);
    for charge in &admission.charges {
        assert_eq!(
            charge.counter.standing.reserved, 5,
            "the rejected left none"
        );
    }
}

#[test]
fn request_is_rejected_behind_queued_ones() {
    let filter = with_limit(&per_user(50));
    let admission = filter.admit("alice", 10);
    let charge = &admission.charges[0];
    let until = charge
        .counter
        .standing
        .resets_at
        .saturating_add(Nanos::HOUR);
    let mut queue = filter.queue.borrow_mut();
    let arrival = Arrival {
        stream: 7,
        caller: CallerId::new(0),
        until,
    };
    let place = queue.push(charge.id(), arrival, 1, charge.counter.standing);
    assert_eq!(place, Place::Free);
    drop(queue);
    assert_eq!(filter.reject("alice", 1).charge.id(), charge.id());
    filter.admit("bob", 1);
}

#[test]
fn reservation_expires_when_never_settled() {
    let mut limit = per_user(50);
    limit["reservation"] = json!({ "ttl": "30s" });
    let filter = with_limit(&limit);
    filter.admit("alice", 50);
    filter.reject("alice", 1);
    filter.wait(Nanos::from_secs(60));
    filter.admit("alice", 1);
}

#[test]
fn unpriced_model_is_rejected_by_budget() {
    let limits = json!({ "free": { "budgets": [{ "usd": "1.00", "window": "1h" }] } });
    let prices = json!({ "gpt": { "input": 1, "output": 1 } });
    let filter = Filter::new(&limits, &json!({ "pricing": prices }));
    let mut attributes = filter.attributes("alice", &[]);
    assert!(matches!(
        filter.demands(&mut attributes, Some("other"), 1),
        Err(AdmissionError::Unpriced { ref model, .. }) if model == "other"
    ));
}

#[test]
fn shadow_limit_counts_and_admits() {
    let mut limit = per_user(50);
    limit["shadow"] = json!(true);
    let filter = with_limit(&limit);
    filter.admit("alice", 50);
    let mut attributes = filter.attributes("alice", &[]);
    let Verdict::Admitted(admission) = filter.check(&mut attributes, 10).unwrap() else {
        panic!("a dry run rejects nothing");
    };
    assert!(admission.shadow_rejected.is_some());
    assert_eq!(admission.charges[0].counter.amount, 0, "without room");
}

/// Returns a limit on the dollars of a caller, where a million tokens of output cost two.
fn with_budget(usd: &str) -> Filter {
    let limit = json!({
        "budgets": [{ "usd": usd, "window": "1h" }],
        "counters": [{ "expression": "auth.user" }]
    });
    let pricing = json!({ "pricing": { "default": { "input": 1, "output": 2 } } });
    Filter::new(&json!({ "money": limit }), &pricing)
}

#[test]
fn concurrent_requests_reserve_money_of_budget() {
    let filter = with_budget("0.003");
    let first = filter.admit("alice", 1_000);
    // In billionths of a dollar.
    assert_eq!(first.charges[0].counter.amount, 2_000_000);
    let rejection = filter.reject("alice", 501);
    let standing = rejection.charge.counter.standing;
    assert_eq!((standing.used, standing.reserved), (0, 2_000_000));
    assert!(standing.is_only_reserved());
    let second = filter.admit("alice", 500);
    assert_eq!(second.charges[0].counter.amount, 1_000_000);
    assert_eq!(second.charges[0].counter.standing.reserved, 2_000_000);
    filter.reject("alice", 1);
    filter.admit("bob", 1_500);
}

#[test]
fn lone_request_reserves_no_more_than_budget() {
    let filter = with_budget("0.003");
    let first = filter.admit("alice", 1_000_000);
    assert_eq!(first.charges[0].counter.amount, 3_000_000);
    filter.reject("alice", 1);
}
