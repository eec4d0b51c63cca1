//! The names of quota headers, and of limits in them.

use super::{Envoy, SECOND, USED, limits};
use crate::testing::{configuration, policy};
use serde_json::{Value, json};

#[test]
fn header_names_follow_templates() {
    // Kong's, and APISIX's with rules.
    let names = json!({
        "limit": "X-AI-RateLimit-Limit-{period}-{limit}",
        "remaining": "X-AI-{limit}-RateLimit-Remaining",
        "retryAfter": "X-AI-RateLimit-Retry-After-{seconds}-{policy}"
    });
    let envoy = Envoy::with(&limits(), &json!({ "headers": names }));
    let mut headers = envoy.admitted(USED);
    headers.sort();
    assert_eq!(
        headers,
        [
            "x-ai-all-ratelimit-remaining: 150",
            "x-ai-free-ratelimit-remaining: 20",
            "x-ai-ratelimit-limit-5400-all: 200",
            "x-ai-ratelimit-limit-day-free: 1000",
            "x-ai-ratelimit-limit-minute-free: 50",
        ],
        "where two have one name, the one with the least left"
    );
    let reply = envoy.rejected("/v1/chat/completions", 2, 30 * SECOND);
    let retry_after = reply.header("x-ai-ratelimit-retry-after-60-llm");
    assert_eq!(retry_after, Some("30"));
}

#[test]
fn every_placeholder_can_be_in_the_name_of_a_header() {
    let placeholders = "{limit}_{policy}_{namespace}_{unit}_{window}_{seconds}_{period}";
    let replies = json!({ "headers": { "limit": format!("x-{placeholders}") } });
    let envoy = Envoy::with(&limits(), &replies);
    let mut headers = envoy.admitted(USED);
    headers.sort();
    assert_eq!(
        headers,
        [
            "x-all_llm_test_tokens_90m_5400_5400: 200",
            "x-free_llm_test_tokens_1d_86400_day: 1000",
            "x-free_llm_test_tokens_1m_60_minute: 50",
        ]
    );
}

#[test]
fn shared_name_of_a_header_has_the_limit_with_least_left() {
    let limit = |max: u64| json!({ "rates": [{ "limit": max, "window": "1m" }] });
    let limits = json!({ "a": limit(50), "b": limit(60), "c": limit(70) });
    let envoy = Envoy::with(&limits, &json!({ "headers": { "limit": "x-limit" } }));
    for (used, expected) in [
        ([40, 20, 20], "x-limit: 50"),
        ([10, 40, 20], "x-limit: 60"),
        ([10, 20, 60], "x-limit: 70"),
        // With as much left, the first.
        ([10, 20, 30], "x-limit: 50"),
    ] {
        assert_eq!(envoy.admitted(&used.map(|used| (used, 9))), [expected]);
    }
}

#[test]
fn limits_of_one_name_have_those_of_their_policies() {
    let limit = json!({ "rates": [{ "limit": 50, "window": "1m" }] });
    let policy = |name: &str, limits: &Value| {
        let mut policy = policy(limits);
        policy["metadata"]["name"] = json!(name);
        policy
    };
    let policies = json!([
        policy("one", &json!({ "free": limit })),
        policy("two", &json!({ "free": limit, "other": limit })),
    ]);
    let settings = json!({ "policies": policies, "replies": { "headers": "ietf" } });
    let envoy = Envoy::of(&configuration(&json!({}), &settings));
    let headers = envoy.admitted(&[(10, 9), (20, 9), (30, 9)]);
    assert_eq!(
        headers.last().unwrap(),
        "ratelimit: \"test/one/free\";r=40;t=9, \"test/two/free\";r=30;t=9, \"other\";r=20;t=9"
    );
}
