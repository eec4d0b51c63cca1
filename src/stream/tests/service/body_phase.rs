//! Checks in the header phase and in the body phase.

use crate::host::{Buffer, Direction, HeaderMap};
use crate::stream::tests::harness::completion;
use crate::stream::tests::service::harness::{
    BODY, BODY_WHEN, Gateway, RESERVE, locally_exhausted,
};
use crate::stream::{Next, Stream};
use limits::service::CallId;
use limits::service::message::ReserveRequest;
use prost::Message;

#[test]
fn pending_check_keeps_the_body() {
    let mut gateway = Gateway::with(BODY_WHEN, RESERVE, "");
    let mut stream = gateway.envoy.stream();
    assert_eq!(stream.on_request_headers(false), Next::Continue);
    assert!(gateway.methods().is_empty());
    gateway
        .envoy
        .host
        .set_buffer(Buffer::RequestBody, BODY.as_bytes());
    assert_eq!(stream.on_request_body(BODY.len(), true), Next::Watermark);
    assert_eq!(stream.on_request_trailers(), Next::Pause);
    let mut stream = Some(stream);
    gateway.answer(&mut stream);
    assert_eq!(*gateway.envoy.host.resumed.borrow(), [Direction::Request]);
    let body = gateway.envoy.host.buffers.borrow()[&Buffer::RequestBody].clone();
    assert!(String::from_utf8(body).unwrap().contains("include_usage"));
}

#[test]
fn exhausted_caller_is_rejected_before_upstream() {
    let mut gateway = Gateway::new(RESERVE);
    gateway.exchange(60);
    let mut stream = gateway.envoy.stream();
    assert_eq!(stream.on_request_headers(false), Next::Pause);
    assert_eq!(gateway.methods().last().unwrap(), "Reserve");
    let mut stream = Some(stream);
    gateway.answer(&mut stream);
    assert_eq!(gateway.envoy.host.replies.borrow().len(), 1);
    let reserves = gateway
        .methods()
        .iter()
        .filter(|method| *method == "Reserve")
        .count();
    assert_eq!(reserves, 2, "one for each exchange");
}

#[test]
fn service_decides_before_body_is_read() {
    let mut gateway = locally_exhausted();
    let mut stream = gateway.envoy.stream();
    assert_eq!(stream.on_request_headers(false), Next::Pause);
    let mut stream = Some(stream);
    gateway.answer(&mut stream);
    assert_eq!(*gateway.envoy.host.resumed.borrow(), [Direction::Request]);
    let mut stream = stream.unwrap();
    let (begin, rest) = BODY.split_at(5);
    let host = &gateway.envoy.host;
    host.set_buffer(Buffer::RequestBody, begin.as_bytes());
    assert_eq!(stream.on_request_body(begin.len(), false), Next::Watermark);
    host.set_buffer(Buffer::RequestBody, rest.as_bytes());
    assert_eq!(stream.on_request_body(rest.len(), true), Next::Continue);
    let body = gateway.envoy.host.buffers.borrow()[&Buffer::RequestBody].clone();
    assert!(String::from_utf8(body).unwrap().contains("include_usage"));
    stream.on_response_headers(false);
    gateway.envoy.body(&mut stream, &completion(7), true);
    stream.on_log();
    gateway.answer(&mut None);
    assert_eq!(gateway.limitador.total(), 7);
}

#[test]
fn cost_that_reads_body_is_checked_with_it() {
    for (mode, field) in [
        ("deny", "llm.model"),
        ("allow", "llm.model"),
        ("deny", "requestBodyJSON('/model')"),
        ("allow", "requestBodyJSON('/model')"),
    ] {
        let spec = format!(
            r#", "cost": "{field} == 'big' ? usage.total_tokens * 3 : usage.total_tokens""#
        );
        let rest = format!(r#", "failureMode": "{mode}""#);
        let mut gateway = Gateway::with(&spec, RESERVE, &rest);
        let exchange = |gateway: &mut Gateway| {
            let mut stream = gateway.envoy.stream();
            assert_eq!(stream.on_request_headers(false), Next::Continue);
            let host = &gateway.envoy.host;
            host.set_buffer(Buffer::RequestBody, BODY.as_bytes());
            assert_eq!(stream.on_request_body(BODY.len(), true), Next::Watermark);
            let mut stream = Some(stream);
            gateway.answer(&mut stream);
            let mut stream = stream.unwrap();
            stream.on_response_headers(false);
            gateway.envoy.body(&mut stream, &completion(20), true);
            stream.on_log();
            gateway.answer(&mut None);
        };
        exchange(&mut gateway);
        assert_eq!(gateway.limitador.total(), 60, "{mode} {field}");
        // Nothing is left by the count of this Envoy.
        gateway.limitador.used.clear();
        exchange(&mut gateway);
        assert_eq!(gateway.limitador.total(), 60, "{mode} {field}");
    }
}

#[test]
fn check_reserves_expected_usage_of_body() {
    let mut gateway = Gateway::new(RESERVE);
    gateway.limitador.limit = 1_000;
    let mut stream = gateway.envoy.stream();
    assert_eq!(stream.on_request_headers(false), Next::Continue);
    assert!(gateway.methods().is_empty());
    let body = br#"{"max_tokens":9}"#;
    gateway.envoy.host.set_buffer(Buffer::RequestBody, body);
    assert_eq!(stream.on_request_body(body.len(), true), Next::Watermark);
    let reserve = ReserveRequest::decode(&*gateway.call(0).message).unwrap();
    assert!((10..20).contains(&reserve.amount), "{}", reserve.amount);
}

#[test]
fn oversized_body_waits_unbuffered() {
    // A limit that needs the body, and is left out where there is none.
    let spec = r#"}, "big": { "rates": [{ "limit": 50, "window": "1m" }],
        "when": [{ "predicate": "requestBodyJSON('/model') == 'big'" }]"#;
    let rest = r#", "failureMode": "allow", "requestBody": { "maxBytes": 16 }"#;
    let mut gateway = Gateway::with(spec, RESERVE, rest);
    let mut stream = gateway.envoy.stream();
    assert_eq!(stream.on_request_headers(false), Next::Continue);
    assert_eq!(stream.on_request_body(100, false), Next::Watermark);
    assert_eq!(stream.on_request_body(100, true), Next::Watermark);
    let mut stream = Some(stream);
    gateway.answer(&mut stream);
    assert_eq!(*gateway.envoy.host.resumed.borrow(), [Direction::Request]);
}

#[test]
fn early_response_does_not_await_service() {
    for (status, cost) in [("401", 0), ("200", 30)] {
        let mut gateway = Gateway::with(BODY_WHEN, RESERVE, "");
        let mut stream = gateway.envoy.stream();
        stream.on_request_headers(false);
        gateway
            .envoy
            .host
            .set_buffer(Buffer::RequestBody, BODY.as_bytes());
        assert_eq!(stream.on_request_body(BODY.len(), true), Next::Watermark);
        let headers = [(":status", status), ("content-type", "application/json")];
        gateway
            .envoy
            .host
            .set_headers(HeaderMap::Response, &headers);
        assert_eq!(stream.on_response_headers(false), Next::Continue);
        gateway.envoy.body(&mut stream, &completion(30), true);
        let mut stream = Some(stream);
        gateway.answer(&mut stream);
        stream.unwrap().on_log();
        gateway.answer(&mut None);
        assert_eq!(gateway.limitador.total(), cost, "{status}");
        assert!(gateway.limitador.reserved.is_empty());
        let resumed = gateway.envoy.host.resumed.borrow().len();
        assert_eq!(resumed, usize::from(status == "200"));
    }
}

#[test]
fn response_between_replies_leaves_no_reservation() {
    let spec = r#", "requests": [{ "limit": 9, "window": "1m" }], "when": [{ "predicate": "requestBodyJSON('/model') == 'big'" }]"#;
    for first in [0, 1] {
        let mut gateway = Gateway::with(spec, RESERVE, "");
        let mut stream = gateway.envoy.stream();
        stream.on_request_headers(false);
        let host = &gateway.envoy.host;
        host.set_buffer(Buffer::RequestBody, BODY.as_bytes());
        assert_eq!(stream.on_request_body(BODY.len(), true), Next::Watermark);
        assert_eq!(gateway.methods(), ["Reserve", "Reserve"]);
        let reply = |gateway: &mut Gateway, stream: &mut Stream, index: usize| {
            let call = gateway.call(index);
            let said = gateway.limitador.call(&call.method, &call.message);
            let token = u32::try_from(index + 1).unwrap();
            let answered = gateway
                .envoy
                .plugin
                .on_reply(CallId(token), said.as_deref().map_err(|s| *s));
            stream.on_check_reply(answered.unwrap());
        };
        reply(&mut gateway, &mut stream, first);
        let headers = [(":status", "200"), ("content-type", "application/json")];
        gateway
            .envoy
            .host
            .set_headers(HeaderMap::Response, &headers);
        stream.on_response_headers(false);
        gateway.envoy.body(&mut stream, &completion(30), true);
        reply(&mut gateway, &mut stream, 1 - first);
        stream.on_log();
        gateway.answered = 2;
        gateway.answer(&mut None);
        assert_eq!(gateway.limitador.total(), 31, "{first}");
        assert!(gateway.limitador.reserved.is_empty(), "{first}");
    }
}

#[test]
fn stream_lost_before_body_leaves_no_reservation() {
    let mut gateway = locally_exhausted();
    let mut stream = gateway.envoy.stream();
    stream.on_request_headers(false);
    let mut stream = Some(stream);
    gateway.answer(&mut stream);
    assert_eq!(gateway.limitador.reserved.len(), 1);
    stream.unwrap().on_log();
    gateway.answer(&mut None);
    assert!(gateway.limitador.reserved.is_empty());
    assert_eq!(gateway.limitador.total(), 0);
}
