//! The body phase: decisions that wait for the request's body.

use crate::host::{Buffer, Direction, HeaderMap};
use crate::stream::Next;
use crate::stream::tests::harness::{BODY_WHEN, Envoy, completion, configuration, request, send};

#[test]
fn predicate_on_body_waits_for_it() {
    let envoy = Envoy::with(&configuration(BODY_WHEN, ""));
    for (model, decision) in [
        ("big", "admitted"),
        ("big", "denied"),
        ("small", "unmatched"),
    ] {
        let mut stream = envoy.stream();
        assert_eq!(stream.on_request_headers(false), Next::Continue);
        let body = format!(r#"{{"model":"{model}"}}"#);
        envoy.host.set_buffer(Buffer::RequestBody, body.as_bytes());
        assert_eq!(stream.on_request_body(5, false), Next::Pause);
        let next = stream.on_request_body(body.len(), true);
        if decision == "denied" {
            assert_eq!(next, Next::Pause);
        } else {
            assert_eq!(next, Next::Continue);
            stream.on_response_headers(false);
            envoy.body(&mut stream, &completion(60), true);
        }
        stream.on_log();
        assert_eq!(envoy.state("tollgate.decision").as_deref(), Some(decision));
    }
    assert!(
        envoy.host.resumed.borrow().is_empty(),
        "callbacks pass on what they kept"
    );
}

#[test]
fn held_headers_wait_for_body() {
    let envoy = Envoy::with(&configuration(BODY_WHEN, r#", "holdHeaders": true"#));
    let mut stream = envoy.stream();
    assert_eq!(stream.on_request_headers(false), Next::Pause);
    envoy
        .host
        .set_buffer(Buffer::RequestBody, b"{\"model\":\"big\"}");
    assert_eq!(stream.on_request_body(15, false), Next::Pause);
    assert_eq!(stream.on_request_trailers(), Next::Continue);
    stream.on_log();
}

#[test]
fn unreadable_body_cannot_evade_predicate() {
    let max = r#", "requestBody": { "maxBytes": 1024 }"#;
    let envoy = Envoy::with(&configuration(BODY_WHEN, max));
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    assert_eq!(stream.on_request_body(2_000, false), Next::Pause);
    assert_eq!(
        envoy.host.replies.borrow().last().unwrap().status,
        500,
        "too large"
    );
    stream.on_log();

    let mut stream = envoy.stream();
    let mut headers = request("alice").to_vec();
    headers.push(("content-encoding", "gzip"));
    envoy.host.set_headers(HeaderMap::Request, &headers);
    assert_eq!(stream.on_request_headers(false), Next::Pause);
    assert_eq!(envoy.host.replies.borrow().len(), 2, "compressed");
    stream.on_log();

    // A POST that says it is an upgrade is read all the same.
    let mut stream = envoy.stream();
    let mut headers = request("alice").to_vec();
    headers.push(("upgrade", "websocket"));
    envoy.host.set_headers(HeaderMap::Request, &headers);
    stream.on_request_headers(false);
    envoy
        .host
        .set_buffer(Buffer::RequestBody, b"{\"model\":\"big\"}");
    stream.on_request_body(15, true);
    stream.on_log();
    assert_eq!(
        envoy.state("tollgate.decision").as_deref(),
        Some("admitted")
    );
}

#[test]
fn early_response_is_decided_on_without_body() {
    let envoy = Envoy::with(&configuration(BODY_WHEN, r#", "failureMode": "allow""#));
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    assert_eq!(stream.on_request_body(5, false), Next::Pause);
    stream.on_response_headers(false);
    assert_eq!(*envoy.host.resumed.borrow(), [Direction::Request]);
    stream.on_log();

    let envoy = Envoy::with(&configuration(BODY_WHEN, ""));
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    stream.on_request_body(5, false);
    envoy
        .host
        .set_headers(HeaderMap::Response, &[(":status", "401")]);
    assert_eq!(stream.on_response_headers(false), Next::Continue);
    stream.on_log();
    assert!(
        envoy.host.replies.borrow().is_empty(),
        "an error is not replaced"
    );
    assert!(envoy.host.resumed.borrow().is_empty());
}

#[test]
fn reservation_amount_may_read_body() {
    let spec = r#", "reservation": { "amount": "requestBodyJSON('/budget')" }"#;
    let envoy = Envoy::with(&configuration(spec, ""));
    let mut first = envoy.stream();
    assert_eq!(send(&envoy, &mut first, r#"{"budget":50}"#), Next::Continue);
    let mut second = envoy.stream();
    assert_eq!(send(&envoy, &mut second, r#"{"budget":1}"#), Next::Pause);
}
