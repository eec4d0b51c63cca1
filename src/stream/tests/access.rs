//! Rules of access.

use crate::host::HeaderMap;
use crate::stream::Next;
use crate::stream::tests::harness::{Envoy, configuration, header, request, send};
use serde_json::{Value, json};

/// Returns a filter with rules of access beside a limit of 50 tokens.
fn with_rules(rules: &Value, rest: &str) -> Envoy {
    let rest = format!(r#", "access": {rules}{rest}"#);
    Envoy::with(&configuration("", &rest))
}

/// Sends a request, which is answered if it is passed on. Returns the status of the reply, if there is one.
fn status(envoy: &Envoy, body: &str) -> Option<u16> {
    let mut stream = envoy.stream();
    let replies = envoy.replies();
    if send(envoy, &mut stream, body) == Next::Continue {
        envoy.answer(&mut stream, 10);
    } else {
        stream.on_log();
    }
    envoy.host.replies.borrow().get(replies).map(|it| it.status)
}

#[test]
fn only_allowed_models_are_admitted() {
    let envoy = with_rules(&json!([{ "models": ["gpt-4o*", "small"] }]), "");
    assert_eq!(status(&envoy, r#"{"model":"gpt-4o-mini"}"#), None);
    assert_eq!(status(&envoy, r#"{"model":"gpt-5"}"#), Some(403));
    let reply = envoy.host.replies.borrow()[0].clone();
    assert_eq!(reply.details, "tollgate_forbidden");
    assert_eq!(reply.header("retry-after"), None);
    assert_eq!(reply.grpc_status, 7);
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(body["error"]["code"], "model_not_allowed");
    let decision = envoy.state("tollgate.decision");
    assert_eq!(decision.as_deref(), Some("forbidden"));
    assert_eq!(envoy.host.metric("tollgate.requests.decision=forbidden"), 1);
    let log = envoy.log.lines();
    let line = "access_forbidden at=access[0] model=gpt-5";
    assert!(log.iter().any(|(_, text)| text == line), "{log:?}");
    let remaining = header(&envoy, HeaderMap::Request, "x-user");
    assert_eq!(remaining.as_deref(), Some("alice"));
}

#[test]
fn uncertain_model_is_not_allowed() {
    let envoy = with_rules(&json!([{ "models": ["*"] }]), "");
    for body in [
        "{}",
        "[]",
        r#"{"model":"a","model":"b"}"#,
        r#"{"model":"a","model_id":"b"}"#,
        r#"{"model":"a","Model":"b"}"#,
        r#"{"model":"a"#,
    ] {
        assert_eq!(status(&envoy, body), Some(403), "{body}");
        let reply = envoy.host.replies.borrow().last().cloned().unwrap();
        assert!(!reply.body.contains("is not allowed"), "{reply:?}");
    }
    assert_eq!(status(&envoy, r#"{"model":"a"}"#), None);
}

#[test]
fn other_models_of_the_body_have_to_be_allowed() {
    let envoy = with_rules(&json!([{ "models": ["o1", "gpt-4o*"] }]), "");
    for (body, expected) in [
        (r#"{"model":"o1","models":["gpt-4o-mini"]}"#, None),
        (r#"{"model":"o1","models":["gpt-4o","claude"]}"#, Some(403)),
        (
            r#"{"model":"o1","fallbacks":[{"model":"claude"}]}"#,
            Some(403),
        ),
        (
            r#"{"model":"o1","extra_body":{"model":"claude"}}"#,
            Some(403),
        ),
    ] {
        assert_eq!(status(&envoy, body), expected, "{body}");
    }
}

#[test]
fn all_rules_that_apply_have_to_allow() {
    let envoy = with_rules(
        &json!([
            { "models": ["a*"] },
            { "when": "auth.user == 'alice'", "models": ["*1", "*2"] },
            { "when": "requestBodyJSON('/stream') == true", "models": ["a1"],
              "else": { "status": 404, "code": "not_streamed" } },
            { "when": "auth.user == 'bob'", "models": [] },
        ]),
        "",
    );
    for (body, expected) in [
        (r#"{"model":"a1"}"#, None),
        (r#"{"model":"a2"}"#, None),
        (r#"{"model":"a3"}"#, Some(403)),
        (r#"{"model":"b1"}"#, Some(403)),
        (r#"{"model":"a2","stream":true}"#, Some(404)),
        (r#"{"model":"a1","stream":true}"#, None),
    ] {
        assert_eq!(status(&envoy, body), expected, "{body}");
    }
    let replies = envoy.host.replies.borrow();
    assert!(replies[2].body.contains("not_streamed"), "{replies:?}");
}

#[test]
fn access_is_decided_before_limits() {
    let envoy = with_rules(&json!([{ "models": ["a"] }]), "");
    for _ in 0..6 {
        status(&envoy, r#"{"model":"a"}"#);
    }
    assert_eq!(status(&envoy, r#"{"model":"a"}"#), Some(429));
    assert_eq!(status(&envoy, r#"{"model":"b"}"#), Some(403));
}

#[test]
fn model_of_path_needs_no_body() {
    let envoy = with_rules(&json!([{ "models": ["gpt-4o"] }]), "");
    for (model, expected) in [("gpt-4o", Next::Continue), ("gpt-5", Next::Pause)] {
        let mut stream = envoy.stream();
        let path = format!("/openai/deployments/{model}/chat/completions");
        let mut headers = request("alice").to_vec();
        headers[1].1 = &path;
        envoy.host.set_headers(HeaderMap::Request, &headers);
        assert_eq!(stream.on_request_headers(false), expected, "{model}");
    }
}

#[test]
fn requests_without_body_and_model_pass_unless_they_upgrade() {
    let envoy = with_rules(&json!([{ "models": ["a"] }]), "");
    for (method, upgrade, expected) in [
        ("GET", false, Next::Continue),
        ("OPTIONS", false, Next::Continue),
        ("POST", false, Next::Pause),
        ("GET", true, Next::Pause),
    ] {
        let mut stream = envoy.stream();
        let mut headers = request("alice").to_vec();
        headers[0].1 = method;
        if upgrade {
            headers.push(("upgrade", "websocket"));
        }
        envoy.host.set_headers(HeaderMap::Request, &headers);
        assert_eq!(stream.on_request_headers(true), expected, "{method}");
    }
}

#[test]
fn failed_predicate_follows_failure_mode() {
    let rules = json!([{ "when": "auth.user.size() / 0 == 1", "models": ["a"] }]);
    let denies = with_rules(&rules, "");
    assert_eq!(status(&denies, r#"{"model":"b"}"#), Some(500));
    let allows = with_rules(&rules, r#", "failureMode": "allow""#);
    assert_eq!(status(&allows, r#"{"model":"b"}"#), None);
}
