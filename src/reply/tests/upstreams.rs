//! Tests of the quota headers of an upstream.

use super::{Envoy, limits};
use crate::host::{HeaderMap, Host};
use crate::ledger::Admission;
use limits::Nanos;
use serde_json::{Value, json};
use std::borrow::Cow;

const UPSTREAM: &[(&str, &str)] = &[
    (":status", "200"),
    ("x-ratelimit-limit-tokens", "30000"),
    ("anthropic-ratelimit-tokens-limit", "7"),
    ("ratelimit", "\"default\";r=9"),
    ("retry-after", "3"),
    ("x-request-id", "1"),
];

/// Returns the names of the headers of a response, in order, and the value of `x-ratelimit-limit-tokens`.
fn passed(replies: &Value, status: u16) -> (Vec<String>, Option<String>) {
    let envoy = Envoy::with(&limits(), replies);
    let host = &envoy.host;
    host.set_headers(HeaderMap::Response, UPSTREAM);
    let upstream = host.headers(HeaderMap::Response).unwrap();
    let admission = Admission::of(vec![envoy.charge(2, 20, Nanos::SECOND)]);
    let has_quotas = envoy
        .responder
        .apply_upstream_headers(&admission, &upstream, status);
    envoy.responder.annotate(&admission, None, has_quotas);
    let headers = host.headers(HeaderMap::Response).unwrap();
    let mut names: Vec<String> = headers
        .iter()
        .map(|(name, _)| String::from_utf8(name.to_vec()).unwrap())
        .filter(|name| name != ":status")
        .collect();
    names.sort();
    let limit = headers.text("x-ratelimit-limit-tokens");
    (names, limit.map(Cow::into_owned))
}

const OURS: [&str; 3] = [
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
];

const THEIRS: [&str; 5] = [
    "anthropic-ratelimit-tokens-limit",
    "ratelimit",
    "retry-after",
    "x-ratelimit-limit-tokens",
    "x-request-id",
];

#[test]
fn quota_headers_of_upstream_are_not_mixed_with_ours() {
    let replaced = [&["x-request-id"][..], &OURS].concat();
    let mut replaced_sorted = replaced.clone();
    replaced_sorted.sort_unstable();
    for replies in [
        json!({ "headers": "openai" }),
        json!({ "headers": "openai", "upstreamHeaders": "replace" }),
    ] {
        let (names, limit) = passed(&replies, 200);
        assert_eq!(names, replaced_sorted, "{replies}");
        assert_eq!(limit.as_deref(), Some("50"), "{replies}");
    }
    for replies in [
        json!({}),
        json!({ "headers": "none" }),
        json!({ "headers": "openai", "upstreamHeaders": "keep" }),
        json!({ "headers": "draft-03", "upstreamHeaders": "keep" }),
    ] {
        let (names, limit) = passed(&replies, 200);
        assert_eq!(names, THEIRS, "{replies}");
        assert_eq!(limit.as_deref(), Some("30000"), "{replies}");
    }
    let (names, _) = passed(&json!({ "upstreamHeaders": "replace" }), 200);
    assert_eq!(names, ["x-request-id"], "although there are none of ours");
}

/// Returns the headers of a response of an upstream with these headers, in order. The request is charged to a rate.
fn passed_of(upstream: &[(&str, &str)], replies: &Value, rate: usize) -> Vec<String> {
    let envoy = Envoy::with(&limits(), replies);
    let host = &envoy.host;
    host.set_headers(HeaderMap::Response, upstream);
    let headers = host.headers(HeaderMap::Response).unwrap();
    let admission = Admission::of(vec![envoy.charge(rate, 0, Nanos::SECOND)]);
    let has_quotas = envoy
        .responder
        .apply_upstream_headers(&admission, &headers, 200);
    envoy.responder.annotate(&admission, None, has_quotas);
    let headers = host.headers(HeaderMap::Response).unwrap();
    let names = headers.iter();
    let mut names: Vec<String> = names
        .map(|(name, _)| String::from_utf8(name.to_vec()).unwrap())
        .filter(|name| name != ":status")
        .collect();
    names.sort();
    names
}

#[test]
fn ours_are_beside_an_upstream_without_quota_headers() {
    let replies = json!({ "headers": "openai", "upstreamHeaders": "keep" });
    let upstream = [
        (":status", "200"),
        ("retry-after", "3"),
        ("x-request-id", "1"),
    ];
    let names = passed_of(&upstream, &replies, 2);
    let mut expected = [&["retry-after", "x-request-id"], &OURS[..]].concat();
    expected.sort_unstable();
    assert_eq!(names, expected);
}

#[test]
fn limits_in_dry_run_remove_no_headers_of_the_upstream() {
    let names = passed_of(UPSTREAM, &json!({ "headers": "openai" }), 4);
    assert_eq!(names, THEIRS);
}

#[test]
fn exchanges_without_limits_keep_headers_of_the_upstream() {
    for handling in ["replace", "prefix", "keep"] {
        let replies = json!({ "headers": "openai", "upstreamHeaders": handling });
        let envoy = Envoy::with(&limits(), &replies);
        envoy.host.set_headers(HeaderMap::Response, UPSTREAM);
        let headers = envoy.host.headers(HeaderMap::Response).unwrap();
        let admission = Admission::unmatched(false);
        let responder = &envoy.responder;
        let has_quotas = responder.apply_upstream_headers(&admission, &headers, 200);
        responder.annotate(&admission, None, has_quotas);
        let passed = envoy.host.headers(HeaderMap::Response).unwrap();
        assert!(passed.iter().eq(headers.iter()), "{handling}");
    }
}

#[test]
fn removed_headers_are_bounded() {
    let names: Vec<String> = (0..70).map(|n| format!("x-ratelimit-{n:02}")).collect();
    let mut upstream = vec![(":status", "200")];
    upstream.extend(names.iter().map(|name| (name.as_str(), "1")));
    let replies = json!({ "upstreamHeaders": "replace" });
    assert_eq!(passed_of(&upstream, &replies, 2), names[64..]);
}

#[test]
fn quota_headers_of_upstream_can_be_renamed() {
    let replies = json!({ "headers": "openai", "upstreamHeaders": "prefix" });
    let (names, limit) = passed(&replies, 200);
    let renamed = [
        "x-upstream-anthropic-ratelimit-tokens-limit",
        "x-upstream-ratelimit",
        "x-upstream-retry-after",
        "x-upstream-x-ratelimit-limit-tokens",
        "x-request-id",
    ];
    let mut expected = [&renamed[..], &OURS].concat();
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(limit.as_deref(), Some("50"));
}

#[test]
fn upstream_error_keeps_its_retry_after() {
    for handling in ["replace", "prefix"] {
        let replies = json!({ "headers": "openai", "upstreamHeaders": handling });
        for status in [400, 429, 503] {
            let (names, _) = passed(&replies, status);
            assert!(names.iter().any(|name| name == "retry-after"), "{names:?}");
        }
        let (names, _) = passed(&replies, 399);
        assert!(names.iter().all(|name| name != "retry-after"), "{names:?}");
    }
}
