//! Requests that Envoy redirects itself: each hop is a stream of its own, of one request.

use super::harness::*;
use crate::host::double::Call;
use crate::host::{Buffer, HeaderMap, HostError};
use crate::stream::{Next, Stream};
use serde_json::{Value, json};

const STATE: &str = "tollgate.redirected";

const HINT: (&str, &str) = ("x-envoy-original-url", "http://llm/v1/chat/completions");

/// Returns a gateway with these limits of each caller.
fn with_limits(limits: &Value) -> Envoy {
    let mut json: Value = serde_json::from_str(&configuration("", "")).unwrap();
    json["policies"][0]["spec"]["limits"] = limits.clone();
    Envoy::with(&json.to_string())
}

/// Returns limits of so many requests and tokens, and of one request in flight.
fn limits(requests: u64, tokens: u64) -> Value {
    let counters = json!([{ "expression": "auth.user" }]);
    json!({
        "requests": { "requests": [{ "limit": requests, "window": "1m" }], "counters": counters },
        "tokens": { "rates": [{ "limit": tokens, "window": "1m" }], "counters": counters },
        "flight": { "concurrency": 1, "counters": counters },
    })
}

/// Begins a request of a client, or the next hop of one, at a path; whether it is admitted.
fn begin(envoy: &Envoy, path: &str, more: &[(&str, &str)]) -> Option<Stream> {
    let mut stream = envoy.stream();
    envoy
        .host
        .set_property(&["response", "code_details"], b"via_upstream");
    let mut headers = request("alice").to_vec();
    headers[1].1 = path;
    headers.extend(more);
    envoy.host.set_headers(HeaderMap::Request, &headers);
    let is_admitted = stream.on_request_headers(true) == Next::Continue;
    if !is_admitted {
        stream.on_response_headers(true);
        stream.on_log();
    }
    is_admitted.then_some(stream)
}

/// Ends a stream because Envoy redirects its request.
fn redirect(envoy: &Envoy, stream: &mut Stream) {
    envoy
        .host
        .set_property(&["response", "code_details"], b"internal_redirect");
    stream.on_log();
}

/// Ends a request, and with it its filter state.
fn end(envoy: &Envoy, mut stream: Stream, tokens: u64) {
    envoy.host.set_buffer(Buffer::RequestBody, b"");
    envoy.answer(&mut stream, tokens);
    let key = vec![STATE.to_owned()];
    envoy.host.properties.borrow_mut().remove(&key);
}

const PATH: &str = "/v1/chat/completions";

#[test]
fn redirected_request_counts_once() {
    let envoy = with_limits(&limits(2, 1_000));
    let mut stream = begin(&envoy, PATH, &[]).unwrap();
    for _ in 0..3 {
        redirect(&envoy, &mut stream);
        stream = begin(&envoy, PATH, &[HINT]).expect("the same request");
    }
    end(&envoy, stream, 60);
    assert_eq!(envoy.state("tollgate.decision").unwrap(), "admitted");
    assert_eq!(envoy.host.metric("tollgate.requests.decision=admitted"), 1);
    assert_eq!(envoy.host.metric("tollgate.tokens.kind=output.model=m"), 59);
    let second = begin(&envoy, PATH, &[]).expect("the second request");
    assert_eq!(second.standings().iter().map(|it| it.used).max(), Some(60));
    end(&envoy, second, 1);
    assert!(begin(&envoy, PATH, &[]).is_none(), "the third");
}

#[test]
fn request_that_only_counts_is_admitted_again() {
    let envoy = with_limits(&json!({ "all": { "requests": [{ "limit": 1, "window": "1m" }] } }));
    let mut stream = begin(&envoy, PATH, &[]).unwrap();
    for _ in 0..2 {
        redirect(&envoy, &mut stream);
        stream = begin(&envoy, PATH, &[HINT]).expect("the same request");
    }
    end(&envoy, stream, 0);
    assert_eq!(envoy.state("tollgate.decision").unwrap(), "admitted");
    assert!(begin(&envoy, PATH, &[HINT]).is_none());
}

#[test]
fn request_that_another_filter_starts_anew_counts_once() {
    // Without the header of a redirect, and after the response has begun.
    let envoy = with_limits(&limits(1, 1_000));
    let mut stream = begin(&envoy, PATH, &[]).unwrap();
    let headers = [(":status", "503"), ("content-type", "text/plain")];
    envoy.host.set_headers(HeaderMap::Response, &headers);
    stream.on_response_headers(false);
    redirect(&envoy, &mut stream);
    let stream = begin(&envoy, "/error", &[]).expect("the same request");
    end(&envoy, stream, 0);
    assert!(begin(&envoy, PATH, &[]).is_none());
}

#[test]
fn limit_that_first_applies_after_redirect_counts() {
    let when = |path: &str| json!([{ "predicate": format!("request.path == '{path}'") }]);
    let envoy = with_limits(&json!({
        "from": { "requests": [{ "limit": 1, "window": "1m" }], "when": when("/from") },
        "to": { "requests": [{ "limit": 1, "window": "1m" }], "when": when("/to") },
    }));
    for path in ["/other", "/from"] {
        let mut stream = begin(&envoy, path, &[]).unwrap();
        redirect(&envoy, &mut stream);
        let next = begin(&envoy, "/to", &[HINT]);
        assert_eq!(next.is_some(), path == "/other", "counted by {path}");
        if let Some(next) = next {
            end(&envoy, next, 0);
        }
    }
}

#[test]
fn forged_header_counts_like_any_request() {
    let envoy = with_limits(&limits(2, 1_000));
    for is_admitted in [true, true, false] {
        let stream = begin(&envoy, PATH, &[HINT, ("x-tollgate-redirected", "1")]);
        assert_eq!(stream.is_some(), is_admitted);
        if let Some(stream) = stream {
            end(&envoy, stream, 1);
        }
    }
}

#[test]
fn tokens_are_checked_at_each_hop() {
    let envoy = with_limits(&limits(10, 50));
    let mut stream = begin(&envoy, PATH, &[]).unwrap();
    redirect(&envoy, &mut stream);
    // Another request exhausts the limit in between.
    let passed = envoy
        .host
        .properties
        .borrow()
        .get(&vec![STATE.to_owned()])
        .cloned();
    envoy
        .host
        .properties
        .borrow_mut()
        .remove(&vec![STATE.to_owned()]);
    let other = begin(&envoy, PATH, &[]).unwrap();
    end(&envoy, other, 60);
    envoy.host.set_property(&[STATE], &passed.unwrap());
    assert!(begin(&envoy, PATH, &[HINT]).is_none());
}

#[test]
fn unreadable_state_counts_once_more() {
    let envoy = with_limits(&limits(9, 1_000));
    for state in [b"".as_slice(), b"\x01", b"\xff12345", &[7; 10_000]] {
        envoy.host.set_property(&[STATE], state);
        end(&envoy, begin(&envoy, PATH, &[HINT]).unwrap(), 1);
    }
    envoy
        .host
        .fail(Call::Property, u32::MAX, HostError::InternalFailure);
    let stream = begin(&envoy, PATH, &[HINT]).unwrap();
    envoy.host.recover();
    assert_eq!(stream.standings().iter().map(|it| it.used).max(), Some(5));
}

#[test]
fn report_requested_before_redirect_is_withheld() {
    let report = "data: {\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":59,\"total_tokens\":60}}\n\n";
    let done = "data: [DONE]\n\n";
    // The limit applies to the first hop only, or to both.
    for predicate in ["!('x-envoy-original-url' in request.headers)", "true"] {
        let spec = format!(r#", "when": [{{ "predicate": "{predicate}" }}]"#);
        let envoy = Envoy::with(&configuration(&spec, ""));
        let mut first = envoy.stream();
        send(&envoy, &mut first, r#"{"stream":true}"#);
        redirect(&envoy, &mut first);
        let mut second = envoy.stream();
        let mut headers = request("alice").to_vec();
        headers.extend([HINT, ("content-type", "application/json")]);
        envoy.host.set_headers(HeaderMap::Request, &headers);
        second.on_request_headers(false);
        let length = envoy.host.buffers.borrow()[&Buffer::RequestBody].len();
        second.on_request_body(length, true);
        let headers = [
            (":status", "200"),
            ("content-type", "text/event-stream"),
            ("content-length", "200"),
        ];
        envoy.host.set_headers(HeaderMap::Response, &headers);
        second.on_response_headers(false);
        assert_eq!(header(&envoy, HeaderMap::Response, "content-length"), None);
        let all = format!("{report}{done}");
        envoy.host.set_buffer(Buffer::ResponseBody, all.as_bytes());
        second.on_response_body(all.len(), true);
        second.on_log();
        let seen = envoy.host.buffers.borrow()[&Buffer::ResponseBody].clone();
        assert_eq!(String::from_utf8(seen).unwrap(), done, "{predicate}");
    }
}
