//! Replies of limits of their own, and limits that admit nothing.

use crate::stream::tests::harness::{Envoy, configuration};
use serde_json::{Value, json};

#[test]
fn limit_of_zero_names_no_time_to_retry() {
    let mut json: Value = serde_json::from_str(&configuration("", "")).unwrap();
    json["policies"][0]["spec"]["limits"]["free"]["rates"][0]["limit"] = json!(0);
    let envoy = Envoy::with(&json.to_string());
    assert!(!envoy.exchange(1));
    let reply = envoy.host.replies.borrow()[0].clone();
    assert_eq!(reply.status, 429);
    assert_eq!(reply.header("retry-after"), None);
    assert_eq!(reply.header("retry-after-ms"), None);
    assert_eq!(reply.header("x-should-retry"), Some("false"));
    assert!(
        reply.body.contains("is 0: it admits no request."),
        "{reply:?}"
    );
    assert!(!reply.body.contains("Try again"), "{reply:?}");
}

#[test]
fn reply_of_limit_replaces_that_of_all() {
    let reply = json!({
        "status": 403, "code": "quota_exceeded", "headers": { "x-why": "free", "x-all": "2" },
    });
    let spec = format!(r#", "reply": {reply}"#);
    let rest = r#", "replies": { "status": 420, "extra": { "x-all": "1" } }"#;
    let envoy = Envoy::with(&configuration(&spec, rest));
    assert!(envoy.exchange(50));
    assert!(!envoy.exchange(1));
    let reply = envoy.host.replies.borrow()[0].clone();
    assert_eq!(reply.status, 403);
    assert_eq!(reply.header("x-why"), Some("free"));
    assert_eq!(reply.header("x-all"), Some("2"));
    assert!(reply.header("retry-after").is_some());
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(body["error"]["code"], "quota_exceeded");
    let spec = r#", "reply": { "body": "{\"why\":\"{limit}\"}" }"#;
    let rest = r#", "replies": { "status": 420, "body": "{}" }"#;
    let envoy = Envoy::with(&configuration(spec, rest));
    assert!(envoy.exchange(50));
    assert!(!envoy.exchange(1));
    let reply = envoy.host.replies.borrow()[0].clone();
    assert_eq!((reply.status, &*reply.body), (420, r#"{"why":"free"}"#));
}
