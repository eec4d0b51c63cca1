//! Tests of valid limits.

use std::time::Duration;

use serde_json::{Value, json};

use crate::fixtures::{long_form, read, set, tutorial};
use crate::{
    Algorithm, Exceeded, Limit, Queue, RateLimit, RateWindow, ReservationTtl, Unpriced, Usd,
    WhenMissing,
};

/// The first limit of the tutorial, with some fields changed or removed.
fn limit_with(fields: &Value) -> Limit {
    let mut document = tutorial();
    for (name, value) in fields.as_object().unwrap() {
        let value = Some(value.clone()).filter(|value| !value.is_null());
        set(&mut document, &format!("/spec/limits/free/{name}"), value);
    }
    let mut limits = read(&document).policies.remove(0).limits;
    limits.remove(0)
}

/// The first limit of a policy.
fn limit(document: &Value) -> Limit {
    read(document).policies.remove(0).limits.remove(0)
}

#[test]
fn algorithm_defaults_to_fixed() {
    let rates = json!([
        { "limit": 1, "window": "7m" },
        { "limit": 1, "window": "8m", "algorithm": "fixed" },
        { "limit": 1, "window": "30d", "algorithm": "calendar" },
        { "limit": 1, "window": "9m", "algorithm": "sliding" },
        { "limit": 1, "window": "10m", "algorithm": "bucket" }
    ]);
    let mut document = tutorial();
    set(&mut document, "/spec/limits/free/rates", Some(rates));
    let rates = &read(&document).policies[0].limits[0].rates;
    let algorithms: Vec<Algorithm> = rates.iter().map(|rate| rate.algorithm).collect();
    assert_eq!(
        algorithms,
        [
            Algorithm::Fixed,
            Algorithm::Fixed,
            Algorithm::Calendar,
            Algorithm::Sliding,
            Algorithm::Bucket,
        ]
    );
}

#[test]
fn limit_fields_have_defaults() {
    let limit = limit_with(&json!({}));
    assert_eq!(limit.concurrency, None);
    assert_eq!(limit.alert_at, None);
    assert!(!limit.shadow);
    assert!(limit.reservation.is_none());
}

#[test]
fn lower_limit_of_a_window_is_enforced() {
    for limits in [[50, 20], [20, 50]] {
        let [first, second] = limits.map(|limit| json!({ "limit": limit, "window": "1m" }));
        let other = json!({ "limit": 500, "window": "1h" });
        let mut document = tutorial();
        let rates = json!([first, { "limit": second["limit"], "window": "60s" }, other]);
        set(&mut document, "/spec/limits/free/rates", Some(rates));
        let configuration = read(&document);
        let limit = &configuration.policies[0].limits[0];
        let found: Vec<String> = limit
            .rates
            .iter()
            .map(|rate| format!("{:?}", rate.limit))
            .collect();
        assert_eq!(found, ["Fixed(20)", "Fixed(500)"]);
        let warnings: Vec<String> = configuration
            .warnings
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            warnings,
            [
                "spec.limits.free.rates[1]: found a second rate for the window \"60s\", of which only the lower limit is enforced; remove one of them"
            ]
        );
    }
}

#[test]
fn concurrency_needs_no_rates() {
    let limit = limit_with(&json!({ "concurrency": 20 }));
    assert_eq!((limit.concurrency, limit.rates.len()), (Some(20), 1));
    let limit = limit_with(&json!({ "concurrency": 1_000_000, "rates": null }));
    assert_eq!((limit.concurrency, limit.rates.len()), (Some(1_000_000), 0));
}

#[test]
fn shadow_and_alert_are_read() {
    let limit = limit_with(&json!({ "shadow": true, "alertAt": 0.8 }));
    assert!(limit.shadow);
    assert_eq!(limit.alert_at, Some(800_000));
    for (value, expected) in [(0.000_001, 1), (0.29, 290_000), (0.999_999, 999_999)] {
        let limit = limit_with(&json!({ "alertAt": value }));
        assert_eq!(limit.alert_at, Some(expected), "{value}");
    }
}

#[test]
fn reservations_are_read() {
    let reservation = |fields: Value| {
        let limit = limit_with(&json!({ "reservation": fields }));
        let reservation = limit.reservation.unwrap();
        let amount = reservation.amount.map(|amount| amount.source().to_owned());
        assert_eq!(reservation.max, None);
        let ttl = reservation.ttl.map(|ttl| match ttl {
            ReservationTtl::Fixed(ttl) => format!("{ttl:?}"),
            ReservationTtl::Computed(expression) => expression.source().to_owned(),
        });
        (amount, ttl)
    };
    assert_eq!(reservation(json!({})), (None, None));
    for amount in [
        "0",
        "uint(2000)",
        "llm.estimated_input_tokens + llm.?max_output_tokens.orValue(1000)",
        "requestBodyJSON('/max_tokens')",
        "request.headers['x-tier'] == 'gold' ? 10000 : 500",
    ] {
        let found = reservation(json!({ "amount": amount }));
        assert_eq!(found, (Some(amount.to_owned()), None));
    }
    for (ttl, seconds) in [
        ("1s", 1),
        ("1m30s", 90),
        ("1d", 86_400),
        ("duration('30s')", 30),
        ("duration( \"5m\" )", 300),
        // Clamped, as the value of any other expression.
        ("duration('500ms')", 1),
        ("duration('48h')", 86_400),
    ] {
        let expected = Some(format!("{:?}", Duration::from_secs(seconds)));
        assert_eq!(
            reservation(json!({ "ttl": ttl })),
            (None, expected),
            "{ttl}"
        );
    }
    for ttl in [
        "duration(request.headers['x-timeout'])",
        "duration('1h') - duration('30m')",
        "auth.identity.tier == 'batch' ? duration('1h') : duration('30s')",
        "auth.identity.timeout",
    ] {
        let expected = Some(ttl.to_owned());
        assert_eq!(reservation(json!({ "ttl": ttl })), (None, expected));
    }
    for (amount, expected) in [
        (json!(8000), "8000"),
        (json!("8000"), "8000"),
        (json!(0), "0"),
    ] {
        let found = reservation(json!({ "amount": amount }));
        assert_eq!(found, (Some(expected.to_owned()), None));
    }
}

#[test]
fn bound_of_reservations_is_read() {
    for max in [1, 4_000, 9_007_199_254_740_991_u64] {
        let limit = limit_with(&json!({ "reservation": { "max": max } }));
        assert_eq!(limit.reservation.unwrap().max, Some(max));
    }
}

#[test]
fn costs_requests_and_budgets_are_read() {
    let limit = limit_with(&json!({
        "cost": "usage.output_tokens * 1.5",
        "requests": [{ "limit": 10, "window": "1s" }, { "limit": 500, "window": "1m" }],
        "whenMissing": "skip"
    }));
    assert_eq!(limit.cost.unwrap().source(), "usage.output_tokens * 1.5");
    assert_eq!(limit.requests.len(), 2);
    assert_eq!(limit.when_missing, Some(WhenMissing::Skip));
    let limit = limit_with(&json!({
        "rates": null, "requests": [{ "limit": 1, "window": "1s" }]
    }));
    assert!(limit.rates.is_empty() && limit.cost.is_none() && limit.when_missing.is_none());
    let mut document = long_form();
    let budgets = json!([{ "usd": "100.00", "window": "24h", "algorithm": "sliding" }]);
    set(
        &mut document,
        "/policies/0/spec/limits/free",
        Some(json!({ "budgets": budgets })),
    );
    let prices = json!({ "gpt-4o": { "input": 2.5, "output": 10 } });
    set(&mut document, "/pricing", Some(prices));
    let configuration = read(&document);
    let budget = &configuration.policies[0].limits[0].budgets[0];
    assert_eq!(budget.usd, Usd(100_000_000_000));
    assert_eq!(budget.algorithm, Algorithm::Sliding);
    let pricing = configuration.pricing.unwrap();
    assert_eq!(pricing.unpriced, Unpriced::Reject);
    assert_eq!(pricing.of("gpt-4o").unwrap().input, Usd(2_500_000_000));
}

#[test]
fn computed_limits_and_windows_have_bounds() {
    let rate = |fields: Value| {
        let mut limit = limit_with(&json!({ "rates": [fields] }));
        limit.rates.remove(0)
    };
    for (fields, bounds) in [
        (
            json!({ "limit": "int(request.headers['x-count'])", "max": 500, "min": 1, "window": "1m" }),
            (1, 500),
        ),
        (
            json!({ "limit": "int(request.headers['x-count'])", "max": "none", "window": "1m" }),
            (0, 9_007_199_254_740_991),
        ),
        (
            json!({ "limit": "{'free': 50, 'gold': 200}[auth.tier]", "window": "1m" }),
            (0, 9_007_199_254_740_991),
        ),
        (
            json!({ "limit": "request.path == '/a' ? 1 : 2", "window": "1m" }),
            (0, 9_007_199_254_740_991),
        ),
    ] {
        match rate(fields).limit {
            RateLimit::Computed { min, max, .. } => assert_eq!((min, max), bounds),
            RateLimit::Fixed(limit) => panic!("{limit}"),
        }
    }
    for (window, min_window, seconds) in [
        ("auth.window", None, 1),
        ("auth.gold ? '1h' : '1m'", Some("1m"), 60),
        ("duration(request.headers['x-window'])", Some("10s"), 10),
    ] {
        let mut fields = json!({ "limit": 1, "window": window });
        if let Some(min_window) = min_window {
            set(&mut fields, "/minWindow", Some(json!(min_window)));
        }
        match rate(fields).window {
            RateWindow::Computed { min, .. } => {
                assert_eq!(min, Duration::from_secs(seconds), "{window}");
            }
            RateWindow::Fixed(fixed) => panic!("{fixed}"),
        }
    }
}

#[test]
fn exceeded_actions_are_read() {
    let action = |action: Value| {
        let mut document = long_form();
        set(&mut document, "/holdHeaders", Some(json!(true)));
        let place = "/policies/0/spec/limits/free/onExceeded";
        set(&mut document, place, Some(action));
        let mut configuration = read(&document);
        configuration.policies.remove(0).limits.remove(0)
    };
    assert_eq!(limit(&tutorial()).on_exceeded, Exceeded::Deny);
    assert_eq!(action(json!("deny")).on_exceeded, Exceeded::Deny);
    let allow = action(json!("allow"));
    assert_eq!(allow.on_exceeded, Exceeded::Allow);
    assert!(!allow.enforces());
    let queue = action(json!({ "queue": { "depth": 3, "timeout": "1.5s" } }));
    assert_eq!(
        queue.queue(),
        Some(Queue {
            depth: 3,
            timeout: Duration::from_millis(1_500)
        })
    );
    assert!(queue.enforces());
    let alternatives = action(json!({ "alternatives": [
        { "model": "small" },
        { "model": "other/small", "headers": { "X-To": "b c" } },
        { "headers": { "x-to": "d" } }
    ] }));
    let alternatives: Vec<(Option<&str>, usize)> = alternatives
        .alternatives()
        .iter()
        .map(|alternative| (alternative.model.as_deref(), alternative.headers.len()))
        .collect();
    assert_eq!(
        alternatives,
        [(Some("small"), 0), (Some("other/small"), 1), (None, 1)]
    );
}

#[test]
fn former_name_of_reject_is_read() {
    for word in ["reject", "refuse"] {
        let limit = limit_with(&json!({ "whenMissing": word }));
        assert_eq!(limit.when_missing, Some(WhenMissing::Reject), "{word}");
        let mut document = long_form();
        let prices = json!({ "gpt-4o": { "input": 2.5, "output": 10 } });
        set(&mut document, "/pricing", Some(prices));
        set(&mut document, "/unpriced", Some(json!(word)));
        let pricing = read(&document).pricing.unwrap();
        assert_eq!(pricing.unpriced, Unpriced::Reject, "{word}");
    }
}
