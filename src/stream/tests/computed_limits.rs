//! Limits and windows that are computed for each request.

use crate::stream::tests::costs::{envoy, envoy_with, usage};
use crate::stream::tests::harness::MINUTE;
use serde_json::{Value, json};

#[test]
fn computed_limit_stays_within_bounds() {
    let limit = |max: Value| {
        json!({ "rates": [{
            "limit": r#"int(request.headers[?"x-count"].orValue("500"))"#,
            "window": "1m", "min": 5, "max": max
        }], "counters": [{ "expression": "request.headers['x-key']" }] })
    };
    for (max, header, expected) in [
        (json!(1000), None, "500"),
        (json!(1000), Some("10"), "10"),
        (json!(1000), Some("1000000"), "1000"),
        (json!("none"), Some("1000000"), "1000000"),
        (json!(1000), Some("-7"), "5"),
    ] {
        let envoy = envoy(&limit(max));
        let mut headers = vec![("x-key", "a")];
        headers.extend(header.map(|count| ("x-count", count)));
        assert!(envoy.send_chat(&headers, &usage(2_000_000, 0, 0, 0)));
        assert!(!envoy.send_chat(&headers, ""), "{header:?}");
        let header = envoy.last_reply();
        let header = header.header("x-ratelimit-limit").unwrap();
        assert!(header.starts_with(&format!("{expected}, ")), "{header}");
    }
    let envoy = envoy(&limit(json!(1000)));
    assert!(!envoy.send_chat(&[("x-key", "a"), ("x-count", "many")], ""));
    assert_eq!(envoy.last_reply().status, 500, "errors exempt no caller");
}

#[test]
fn tiers_and_windows_can_be_computed() {
    let envoy = envoy(&json!({ "rates": [{
        "limit": r#"{"alice": 50, "bob": 200}[auth.user]"#,
        "window": r#"{"alice": "1m", "bob": "1h"}[auth.user]"#
    }] }));
    assert!(envoy.send_chat(&[], &usage(60, 0, 0, 0)));
    assert!(!envoy.send_chat(&[], ""));
    assert_eq!(
        envoy.last_reply().header("x-ratelimit-limit"),
        Some("50, 50;w=60;name=\"free\"")
    );
    envoy.host.clock.set(1_001 * MINUTE);
    assert!(envoy.send_chat(&[], &usage(1, 0, 0, 0)), "a new window");
}

#[test]
fn changed_window_keeps_the_counter() {
    let envoy = envoy(&json!({ "rates": [{
        "limit": 10, "window": r#"int(request.headers["x-window"])"#, "minWindow": "30s"
    }] }));
    assert!(envoy.send_chat(&[("x-window", "3600")], &usage(20, 0, 0, 0)));
    for window in ["3600", "60", "1", "0", "-5", "86400"] {
        assert!(!envoy.send_chat(&[("x-window", window)], ""), "{window}");
    }
    envoy.host.clock.set(1_000 * MINUTE + MINUTE / 2 - 1);
    assert!(
        !envoy.send_chat(&[("x-window", "1")], ""),
        "not before the shortest"
    );
}

#[test]
fn missing_counter_is_skipped_rejected_or_fails() {
    let limit = |when_missing: Option<&str>| {
        let mut limit = json!({
            "rates": [{ "limit": 1, "window": "1m" }],
            "counters": [{ "expression": r#"request.headers["x-subscription-id"]"# }]
        });
        if let Some(when_missing) = when_missing {
            limit["whenMissing"] = json!(when_missing);
        }
        limit
    };
    let skip = envoy(&limit(Some("skip")));
    for _ in 0..3 {
        assert!(skip.send_chat(&[], &usage(10, 0, 0, 0)));
    }
    assert_eq!(
        skip.state("tollgate.decision").as_deref(),
        Some("unmatched")
    );
    assert!(skip.send_chat(&[("x-subscription-id", "s")], &usage(10, 0, 0, 0)));
    assert!(!skip.send_chat(&[("x-subscription-id", "s")], ""));
    let open = json!({ "failureMode": "allow" });
    assert!(!envoy_with(&limit(Some("reject")), &open).send_chat(&[], ""));
    assert!(envoy_with(&limit(None), &open).send_chat(&[], &usage(1, 0, 0, 0)));
    assert!(!envoy(&limit(None)).send_chat(&[], ""));
}
