//! The calls to Envoy that an exchange takes: each costs more than most of what the filter computes.

use crate::host::double::Call;
use crate::host::{Buffer, HeaderMap};
use crate::stream::Stream;
use crate::stream::tests::harness::{Envoy, completion, configuration, request};

/// The most calls that an exchange of JSON takes, with a record for access logs.
const MAX_JSON_CALLS: usize = 13;

/// The most calls that a streamed exchange takes, with a record for access logs, beside one for each further piece.
const MAX_STREAM_CALLS: usize = 14;

/// Counts the calls of a callback, of which Envoy is asked for the time once.
struct Calls<'a> {
    envoy: &'a Envoy,
    calls: Vec<Call>,
}

impl Calls<'_> {
    fn of<T>(&mut self, callback: impl FnOnce() -> T) {
        self.envoy.host.calls.borrow_mut().clear();
        callback();
        let calls = self.envoy.host.calls.borrow();
        let others = calls.iter().filter(|call| **call != Call::Now);
        self.calls.extend(others);
        self.calls
            .extend(calls.iter().find(|call| **call == Call::Now));
    }
}

/// Returns the calls of an exchange, whose body and response arrive in pieces, with their ends after the last.
fn exchange(envoy: &Envoy, stream: &mut Stream, body: &str, response: &[&str]) -> Vec<Call> {
    let length = body.len().to_string();
    let mut headers = request("alice").to_vec();
    headers.extend([
        ("content-type", "application/json"),
        ("content-length", &length),
        ("accept", "application/json"),
    ]);
    envoy.host.set_headers(HeaderMap::Request, &headers);
    let mut calls = Calls {
        envoy,
        calls: Vec::new(),
    };
    calls.of(|| stream.on_request_headers(false));
    envoy.host.set_buffer(Buffer::RequestBody, body.as_bytes());
    calls.of(|| stream.on_request_body(body.len(), false));
    let passed = envoy.host.buffers.borrow()[&Buffer::RequestBody].len();
    calls.of(|| stream.on_request_body(passed, true));
    calls.of(|| stream.on_response_headers(false));
    for piece in response {
        envoy
            .host
            .set_buffer(Buffer::ResponseBody, piece.as_bytes());
        calls.of(|| stream.on_response_body(piece.len(), false));
    }
    envoy.host.set_buffer(Buffer::ResponseBody, b"");
    calls.of(|| stream.on_response_body(0, true));
    calls.of(|| stream.on_log());
    calls.calls
}

#[test]
fn json_exchange_takes_few_calls() {
    let envoy = Envoy::with(&configuration("", r#", "accessLog": "record""#));
    let body = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}"#;
    // The metrics of a model are defined with its first response.
    envoy.exchange(7);
    for _ in 0..2 {
        let mut stream = envoy.stream();
        let calls = exchange(&envoy, &mut stream, body, &[&completion(7)]);
        assert!(calls.len() <= MAX_JSON_CALLS, "{}: {calls:?}", calls.len());
    }
}

#[test]
fn streamed_exchange_takes_few_calls() {
    let envoy = Envoy::with(&configuration("", r#", "accessLog": "record""#));
    let body = r#"{"model":"m","max_tokens":5,"stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}"#;
    let chunk = "data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n";
    let report = "data: {\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}\n\ndata: [DONE]\n\n";
    envoy.exchange(7);
    for pieces in [1, 5] {
        let mut stream = envoy.stream();
        let mut response = vec![chunk; pieces];
        response.push(report);
        let calls = exchange(&envoy, &mut stream, body, &response);
        let most = MAX_STREAM_CALLS + pieces - 1;
        assert!(calls.len() <= most, "{}: {calls:?}", calls.len());
    }
}
