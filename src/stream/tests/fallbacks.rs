//! Fallbacks and report-only limits.

use crate::host::double::Call;
use crate::host::{Buffer, HeaderMap, HostError};
use crate::stream::tests::harness::{Envoy, MINUTE, configuration, header, request, send};
use crate::stream::{Next, Stream};
use serde_json::{Value, json};

#[test]
fn report_only_limit_admits_and_alerts() {
    let envoy = Envoy::with(&configuration(r#", "onExceeded": "allow""#, ""));
    let alerts = || {
        envoy
            .host
            .metric("tollgate.alerts.policy=test/llm.limit=free")
    };
    assert!(envoy.exchange(49));
    assert_eq!(alerts(), 0);
    assert!(envoy.exchange(1));
    assert_eq!(alerts(), 1);
    let alert = header(&envoy, HeaderMap::Response, "x-ratelimit-alert");
    assert_eq!(alert, None, "this one fitted");
    assert!(envoy.exchange(60));
    assert_eq!(
        envoy.state("tollgate.decision").as_deref(),
        Some("admitted")
    );
    let alert = header(&envoy, HeaderMap::Response, "x-ratelimit-alert");
    assert_eq!(alert.as_deref(), Some("\"free\""));
    assert_eq!(alerts(), 1, "once in a window");
    let log = envoy.log.lines();
    let lines: Vec<_> = log
        .iter()
        .filter(|(_, line)| line.starts_with("limit_alert "))
        .collect();
    assert_eq!(lines.len(), 1, "{log:?}");
    assert!(
        lines[0].1.ends_with("used=50 limit_value=50 unit=tokens"),
        "{lines:?}"
    );
    assert_eq!(envoy.replies(), 0);
    envoy.wait(MINUTE);
    assert!(envoy.exchange(60));
    assert_eq!(alerts(), 2, "another window");
}

#[test]
fn concurrency_alert_once_a_minute() {
    let envoy = Envoy::with(&configuration(
        r#", "concurrency": 1, "onExceeded": "allow""#,
        "",
    ));
    let mut streams: Vec<Stream> = (0..3).map(|_| envoy.stream()).collect();
    for stream in &mut streams {
        assert_eq!(stream.on_request_headers(true), Next::Continue);
    }
    let name = "tollgate.alerts.policy=test/llm.limit=free";
    assert_eq!(envoy.host.metric(name), 1);
}

/// Returns a limit on the model `large`, and what there is to take instead.
fn with_fallbacks(alternatives: &Value) -> Envoy {
    let limit = |model: &str, tokens: u64, action: &Value| {
        json!({
            "when": [{ "predicate": format!("llm.model == '{model}'") }],
            "rates": [{ "limit": tokens, "window": "1m" }],
            "counters": [{ "expression": "auth.user" }],
            "onExceeded": action,
        })
    };
    let mut json: Value =
        serde_json::from_str(&configuration("", r#", "holdHeaders": true"#)).unwrap();
    json["policies"][0]["spec"]["limits"] = json!({
        "large": limit("large", 50, &json!({ "alternatives": alternatives })),
        "middle": limit("middle", 10, &json!({ "alternatives": [{ "model": "large" }] })),
        "small": limit("small", 200, &json!("deny")),
    });
    Envoy::with(&json.to_string())
}

#[test]
fn fallback_model_replaces_exhausted_one() {
    let envoy = with_fallbacks(&json!([
        { "model": "middle" },
        { "model": "small", "headers": { "X-To": "b" } }
    ]));
    envoy.request_large("", 60);
    assert_eq!(envoy.sent(), r#"{"model":"large","max_tokens":1}"#);
    assert_eq!(envoy.alternative(), None);
    // The middle one has room for one, however large.
    envoy.request_large("", 30);
    assert_eq!(envoy.sent(), r#"{"model":"middle","max_tokens":1}"#);
    assert_eq!(envoy.alternative().as_deref(), Some("middle"));
    envoy.request_large("", 30);
    assert_eq!(envoy.sent(), r#"{"model":"small","max_tokens":1}"#);
    assert_eq!(envoy.alternative().as_deref(), Some("small"));
    assert_eq!(
        header(&envoy, HeaderMap::Request, "x-to").as_deref(),
        Some("b")
    );
    assert_eq!(
        header(&envoy, HeaderMap::Request, "content-length").as_deref(),
        Some("32")
    );
    let state = |key: &str| envoy.state(key);
    assert_eq!(state("tollgate.decision").as_deref(), Some("alternative"));
    assert_eq!(state("tollgate.limit").as_deref(), Some("large"));
    assert_eq!(envoy.replies(), 0);
    envoy.request_large("", 200);
    assert_eq!(
        envoy.replies(),
        0,
        "counted under the small model: 30 of 200"
    );
    envoy.request_large("", 1);
    assert_eq!(envoy.replies(), 1, "there is room nowhere");
    let reply = envoy.host.replies.borrow()[0].clone();
    assert!(reply.body.contains("large"), "{}", reply.body);
    assert_eq!(
        envoy.sent(),
        r#"{"model":"large","max_tokens":1}"#,
        "as it was"
    );
}

#[test]
fn usage_is_requested_of_fallback_too() {
    let envoy = with_fallbacks(&json!([{ "model": "small" }]));
    envoy.request_large("", 60);
    envoy.request_large(r#","stream":true"#, 30);
    assert_eq!(
        envoy.sent(),
        r#"{"stream_options":{"include_usage":true},"model":"small","max_tokens":1,"stream":true}"#
    );
    let length = header(&envoy, HeaderMap::Request, "content-length");
    assert_eq!(length, Some(envoy.sent().len().to_string()));
}

#[test]
fn fallback_may_change_headers_alone() {
    let mut json: Value =
        serde_json::from_str(&configuration("", r#", "holdHeaders": true"#)).unwrap();
    json["policies"][0]["spec"]["limits"] = json!({ "first": {
        "when": [{ "predicate": "!('x-to' in request.headers)" }],
        "rates": [{ "limit": 50, "window": "1m" }],
        "onExceeded": { "alternatives": [{ "headers": { "x-to": "second" } }] },
    } });
    let envoy = Envoy::with(&json.to_string());
    let mut first = envoy.stream();
    assert_eq!(first.on_request_headers(true), Next::Continue);
    envoy.answer(&mut first, 60);
    let mut stream = envoy.stream();
    assert_eq!(stream.on_request_headers(true), Next::Continue);
    assert_eq!(
        header(&envoy, HeaderMap::Request, "x-to").as_deref(),
        Some("second")
    );
    envoy.answer(&mut stream, 30);
    assert_eq!(envoy.alternative().as_deref(), Some("1"));
    assert_eq!(
        envoy.state("tollgate.decision").as_deref(),
        Some("alternative")
    );
    assert_eq!(envoy.state("tollgate.model"), None, "it is not metered");
}

#[test]
fn body_without_model_has_no_fallback_model() {
    let envoy = Envoy::with(&configuration(
        r#", "onExceeded": { "alternatives": [{ "model": "small" }] }"#,
        r#", "holdHeaders": true"#,
    ));
    envoy.request_large("", 60);
    for body in [
        "",
        "{}",
        "[]",
        r#"{"model":1}"#,
        r#"{"model":"a","model":"b"}"#,
    ] {
        let mut stream = envoy.stream();
        assert_eq!(send(&envoy, &mut stream, body), Next::Pause, "{body}");
    }
    let mut stream = envoy.stream();
    let mut headers = request("alice").to_vec();
    headers[1].1 = "/openai/deployments/large/chat/completions";
    headers.push(("content-type", "application/json"));
    envoy.host.set_headers(HeaderMap::Request, &headers);
    stream.on_request_headers(false);
    let body = br#"{"model":"large"}"#;
    envoy.host.set_buffer(Buffer::RequestBody, body);
    assert_eq!(stream.on_request_body(body.len(), true), Next::Pause);
    assert_eq!(envoy.replies(), 6, "the path names the model");
}

#[test]
fn unchangeable_request_fails_and_releases_reservation() {
    for call in [
        Call::SetHeader(HeaderMap::Request),
        Call::ReplaceBuffer(Buffer::RequestBody),
    ] {
        let envoy = with_fallbacks(&json!([{ "model": "small" }]));
        envoy.request_large("", 60);
        envoy.host.fail(call, 1, HostError::BadArgument);
        let mut stream = envoy.request_large(r#","n":190"#, 0);
        assert_eq!(envoy.host.replies.borrow()[0].status, 500, "{call:?}");
        stream.on_log();
        envoy.request_large(r#","n":190"#, 150);
        assert_eq!(envoy.replies(), 1, "{call:?}");
        assert_eq!(envoy.alternative().as_deref(), Some("small"));
    }
}
