//! Tests of the wait that a rejection requests.

use super::{Envoy, NOW, SECOND, limits};
use crate::host::double::SentReply;
use limits::Nanos;
use serde_json::{Value, json};

/// Returns what a reply says of waiting: `retry-after`, `retry-after-ms`, `x-should-retry` and the reset.
fn wait(reply: &SentReply) -> [Option<&str>; 4] {
    [
        "retry-after",
        "retry-after-ms",
        "x-should-retry",
        "x-ratelimit-reset",
    ]
    .map(|name| reply.header(name))
}

#[test]
fn long_waits_are_not_requested() {
    let path = "/v1/chat/completions";
    for (max, reset, is_requested) in [
        (None, 60 * SECOND, true),
        (None, 60 * SECOND + 1, false),
        (Some("5s"), 5 * SECOND, true),
        (Some("5s"), 6 * SECOND, false),
        (Some("2h"), 3_600 * SECOND, true),
    ] {
        let replies = max.map_or(json!({}), |max| json!({ "maxRetryAfter": max }));
        let envoy = Envoy::with(&limits(), &replies);
        let reply = envoy.rejected(path, 2, reset);
        let seconds = reset.div_ceil(SECOND).to_string();
        let milliseconds = reset.div_ceil(1_000_000).to_string();
        let expected = if is_requested {
            [
                Some(seconds.as_str()),
                Some(milliseconds.as_str()),
                None,
                Some(seconds.as_str()),
            ]
        } else {
            [None, None, Some("false"), Some(seconds.as_str())]
        };
        assert_eq!(wait(&reply), expected, "{max:?} {reset}");
        assert!(reply.body.contains(&format!("Try again in {seconds} s.")));

        let gemini = envoy.rejected("/v1beta/models/m:generateContent", 2, reset);
        let body: Value = serde_json::from_str(&gemini.body).unwrap();
        assert_eq!(body["error"]["details"].is_array(), is_requested, "{body}");
    }
}

#[test]
fn aws_sdks_have_their_own_header() {
    let envoy = Envoy::with(&limits(), &json!({}));
    for (path, is_aws) in [
        ("/model/m/converse", true),
        ("/model/anthropic.claude-v2/invoke", true),
        ("/v1/chat/completions", false),
    ] {
        let wait = |reset: u64| {
            let reply = envoy.rejected(path, 2, reset);
            reply.header("x-amz-retry-after").map(str::to_owned)
        };
        let expected = is_aws.then(|| "1501".to_owned());
        assert_eq!(wait(1_500_000_001), expected, "{path}");
        assert_eq!(wait(90 * SECOND), None, "{path}");
    }
}

#[test]
fn configured_names_request_no_long_wait_either() {
    let replies = json!({ "headers": { "retryAfter": "retry-after-seconds", "reset": "x-reset" } });
    let envoy = Envoy::with(&limits(), &replies);
    let short = envoy.rejected("/", 2, 30 * SECOND);
    assert_eq!(short.header("retry-after-seconds"), Some("30"));
    let long = envoy.rejected("/", 2, 90 * SECOND);
    assert_eq!(long.header("retry-after-seconds"), None);
    assert_eq!(long.header("x-reset"), Some("90"));
}

#[test]
fn wait_of_service_is_bounded_and_agrees() {
    let envoy = Envoy::with(&limits(), &json!({}));
    let mut charge = envoy.charge(2, 50, Nanos::from_secs(30));
    charge.counter.standing.resets_at = NOW.saturating_add(Nanos::from_secs(30));
    for (service, expected) in [
        ("7", [Some("7"), Some("7000"), None, Some("7")]),
        ("3600", [None, None, Some("false"), Some("3600")]),
        (
            "Wed, 21 Oct 2026 07:28:00 GMT",
            [
                Some("Wed, 21 Oct 2026 07:28:00 GMT"),
                Some("30000"),
                None,
                Some("30"),
            ],
        ),
    ] {
        let headers = [("retry-after".to_owned(), service.as_bytes().to_vec())];
        let reply = envoy.rejected_with("/v1/chat/completions", charge, &headers);
        assert_eq!(wait(&reply), expected, "{service}");
    }
}

#[test]
fn reset_and_retry_after_agree_without_a_reset() {
    let envoy = Envoy::with(&limits(), &json!({ "body": "{reset} {retryAfter}" }));
    for rate in [1, 2] {
        let mut charge = envoy.charge(rate, 0, Nanos::ZERO);
        charge.counter.standing.reserved = charge.counter.standing.limit;
        let reply = envoy.rejected_charge("/", charge);
        assert_eq!(
            wait(&reply),
            [Some("1"), Some("1000"), None, Some("1")],
            "{rate}"
        );
        assert_eq!(reply.body, "1 1");
    }
}
