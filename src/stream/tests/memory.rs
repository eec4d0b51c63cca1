//! The end of the worker's memory: what requests do without, and when they are rejected.

use super::harness::*;
use crate::host::{Buffer, HeaderMap};
use crate::memory::allocated;
use crate::stream::Next;

const MEBIBYTE: usize = 1 << 20;

/// The budget of these tests.
const BUDGET: &str = r#", "memory": { "perWorker": "32MiB" }"#;

/// Allocates until the worker has so many mebibytes.
fn allocate_up_to(mebibytes: usize) -> Vec<u8> {
    vec![0; mebibytes * MEBIBYTE - allocated()]
}

fn with_body_predicate() -> Envoy {
    Envoy::with(&configuration(BODY_WHEN, BUDGET))
}

#[test]
fn exhausted_budget_rejects_with_503() {
    let envoy = Envoy::with(&configuration("", BUDGET));
    assert!(envoy.exchange(10));
    let others = allocate_up_to(31);
    for _ in 0..2 {
        let mut stream = envoy.stream();
        envoy
            .host
            .set_property(&["request", "path"], b"/v1/messages");
        assert_eq!(stream.on_request_headers(false), Next::Pause);
        stream.on_log();
        assert_eq!(envoy.state("tollgate.decision").unwrap(), "overloaded");
    }
    {
        let replies = envoy.host.replies.borrow();
        assert_eq!(replies.len(), 2);
        assert_eq!(replies[0].status, 503);
        assert_eq!(replies[0].header("retry-after"), Some("1"));
        assert_eq!(replies[0].details, "tollgate_overloaded");
        assert_eq!(replies[0].grpc_status, 14);
        assert!(
            replies[0].body.contains("overloaded_error"),
            "{:?}",
            replies[0]
        );
    }
    let decisions = envoy.host.metric("tollgate.requests.decision=overloaded");
    assert_eq!(decisions, 2);
    let lines = envoy.log.lines().into_iter().map(|(_, line)| line);
    let lines: Vec<String> = lines
        .filter(|line| line.starts_with("memory_exhausted part=requests"))
        .collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("needed=0 left=0 "), "{lines:?}");
    drop(others);
    assert!(envoy.exchange(10), "memory is there again");
}

#[test]
fn admitted_exchange_is_charged_without_memory() {
    let envoy = Envoy::with(&configuration("", BUDGET));
    let mut stream = envoy.stream();
    assert_eq!(stream.on_request_headers(true), Next::Continue);
    let others = allocate_up_to(31);
    envoy.answer(&mut stream, 40);
    assert_eq!(envoy.state("tollgate.total_tokens").unwrap(), "40");
    drop(others);
    assert!(envoy.exchange(20));
    assert!(!envoy.exchange(1), "40 and 20 of 50 tokens are used");
}

#[test]
fn body_is_not_awaited_without_memory() {
    let envoy = with_body_predicate();
    let others = allocate_up_to(29);
    let mut stream = envoy.stream();
    assert_eq!(stream.on_request_headers(false), Next::Continue);
    envoy
        .host
        .set_buffer(Buffer::RequestBody, br#"{"model":"big"}"#);
    assert_eq!(stream.on_request_body(15, true), Next::Continue);
    stream.on_log();
    // The predicate reads a body that was not read.
    assert_eq!(envoy.state("tollgate.decision").unwrap(), "unmatched");
    assert_eq!(envoy.host.metric("tollgate.memory_shortages"), 1);
    drop(others);
}

#[test]
fn missing_body_is_no_error_of_the_policy() {
    let counter = r#", "reservation": { "amount": "requestBodyJSON('/n')" }"#;
    let envoy = Envoy::with(&configuration(counter, BUDGET));
    let others = allocate_up_to(29);
    let mut stream = envoy.stream();
    assert_eq!(stream.on_request_headers(false), Next::Pause);
    assert_eq!(envoy.host.replies.borrow()[0].status, 503);
    drop(others);
    let mut stream = envoy.stream();
    assert_eq!(send(&envoy, &mut stream, r#"{"n":7}"#), Next::Continue);
}

#[test]
fn bodies_for_estimates_are_given_up_first() {
    let estimated = Envoy::with(&configuration("", BUDGET));
    let decided = with_body_predicate();
    let others = allocate_up_to(26);
    for envoy in [&estimated, &decided] {
        let mut stream = envoy.stream();
        stream.on_request_headers(false);
        envoy
            .host
            .set_buffer(Buffer::RequestBody, br#"{"model":"big"}"#);
        stream.on_request_body(15, true);
        stream.on_log();
    }
    assert_eq!(estimated.host.metric("tollgate.memory_shortages"), 1);
    assert_eq!(decided.host.metric("tollgate.memory_shortages"), 0);
    drop(others);
}

#[test]
fn held_body_passes_on_when_memory_ends() {
    let envoy = with_body_predicate();
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    let pieces = [r#"{"model":"#, r#""big","messages":[],"#, r#""a":1}"#];
    for piece in &pieces[..2] {
        envoy.host.set_buffer(Buffer::RequestBody, piece.as_bytes());
        assert_eq!(stream.on_request_body(piece.len(), false), Next::Watermark);
        assert_eq!(envoy.sent(), "");
    }
    let others = allocate_up_to(29);
    envoy
        .host
        .set_buffer(Buffer::RequestBody, pieces[2].as_bytes());
    assert_eq!(
        stream.on_request_body(pieces[2].len(), true),
        Next::Continue
    );
    assert_eq!(envoy.sent(), pieces.concat());
    drop(others);
    envoy.answer(&mut stream, 10);
    // What was read by then decides.
    assert_eq!(envoy.state("tollgate.decision").unwrap(), "admitted");
}

#[test]
fn gauge_follows_what_is_allocated() {
    let envoy = Envoy::new();
    let gauge = || usize::try_from(envoy.host.metric("tollgate.memory_bytes")).unwrap_or(0);
    assert!(envoy.exchange(1));
    let before = gauge();
    let others = vec![0_u8; 4 * MEBIBYTE];
    assert!(envoy.exchange(1));
    let with_others = gauge();
    assert!((3 * MEBIBYTE..5 * MEBIBYTE).contains(&(with_others - before)));
    drop(others);
    assert!(envoy.exchange(1));
    assert!(gauge().abs_diff(before) < MEBIBYTE);
}

/// The shape of JSON that takes most memory for its text, so many bytes of it.
fn dense(bytes: usize) -> String {
    let item = r#"{"":{"":0}},"#;
    format!("[{}0]", item.repeat(bytes / item.len()))
}

#[test]
fn dense_values_are_missing() {
    let when = r#", "when": [{ "predicate": "size(requestBodyJSON('')) > 0" }]"#;
    let envoy = Envoy::with(&configuration(when, BUDGET));
    for (bytes, expected) in [(10_000, "admitted"), (250_000, "unmatched")] {
        let body = dense(bytes);
        let mut stream = envoy.stream();
        let before = allocated();
        assert_eq!(send(&envoy, &mut stream, &body), Next::Continue);
        assert!(allocated() - before < MEBIBYTE, "nothing is kept");
        stream.on_log();
        assert_eq!(envoy.state("tollgate.decision").unwrap(), expected);
    }
}

#[test]
fn ordinary_values_fit() {
    let when = r#", "when": [{ "predicate": "size(requestBodyJSON('/messages')) > 0" }]"#;
    let envoy = Envoy::with(&configuration(when, BUDGET));
    let message = r#"{"role":"user","content":"What is it?"}"#;
    let messages = vec![message; 1_500].join(",");
    let mut stream = envoy.stream();
    send(
        &envoy,
        &mut stream,
        &format!(r#"{{"messages":[{messages}]}}"#),
    );
    stream.on_log();
    assert_eq!(envoy.state("tollgate.decision").unwrap(), "admitted");
}

#[test]
fn values_kept_for_costs_are_bounded() {
    let cost =
        r#", "cost": "size(requestBodyJSON('/a')) > 0 ? 1 : 1", "reservation": { "amount": "1" }"#;
    let envoy = Envoy::with(&configuration(cost, BUDGET));
    let body = format!(r#"{{"a":{}}}"#, dense(30_000));
    let mut streams = Vec::new();
    for _ in 0..40 {
        let mut stream = envoy.stream();
        assert_eq!(send(&envoy, &mut stream, &body), Next::Continue);
        streams.push(stream);
        assert!(allocated() < 30 * MEBIBYTE, "{}", allocated());
    }
    assert!(envoy.host.metric("tollgate.memory_shortages") > 0);
    for stream in &mut streams {
        stream.on_log();
    }
    drop(streams);
    let mut stream = envoy.stream();
    assert_eq!(send(&envoy, &mut stream, &body), Next::Continue);
}

#[test]
fn slow_requests_keep_no_more_than_their_share() {
    let envoy = with_body_predicate();
    let filler = "x".repeat(20_000);
    let mut streams = Vec::new();
    let mut awaiting = 0;
    for _ in 0..2_000 {
        let mut headers = request("alice").to_vec();
        headers.push(("x-filler", &filler));
        let mut stream = envoy.stream();
        envoy.host.set_headers(HeaderMap::Request, &headers);
        if stream.on_request_headers(false) == Next::Continue && stream.outcome.decision.is_none() {
            awaiting += 1;
        }
        streams.push(stream);
    }
    assert!(allocated() < 32 * MEBIBYTE, "{}", allocated());
    // Half of the budget is for headers.
    assert!((500..1_000).contains(&awaiting), "{awaiting}");
}

#[test]
fn full_memory_admits_no_request_to_the_queue() {
    let envoy = with_queue(4, BUDGET);
    let mut first = envoy.stream();
    assert_eq!(first.on_request_headers(true), Next::Continue);
    let others = allocate_up_to(29);
    let mut second = envoy.stream();
    assert_eq!(second.on_request_headers(true), Next::Pause);
    assert_eq!(envoy.queued(), 0);
    assert_eq!(envoy.host.replies.borrow()[0].status, 429);
    drop(others);
    let mut third = envoy.stream();
    assert_eq!(third.on_request_headers(true), Next::Pause);
    assert_eq!(envoy.queued(), 1);
}

#[test]
fn unread_response_is_charged_its_reservation() {
    let envoy = Envoy::with(&configuration("", BUDGET));
    let mut stream = envoy.stream();
    let body = r#"{"model":"m","max_tokens":700,"messages":[]}"#;
    assert_eq!(send(&envoy, &mut stream, body), Next::Continue);
    stream.on_response_headers(false);
    let others = allocate_up_to(33);
    let response = completion(200);
    let (begin, end) = response.split_at(response.len() - 5);
    assert_eq!(envoy.body(&mut stream, begin, false), Next::Continue);
    drop(others);
    assert_eq!(envoy.body(&mut stream, end, true), Next::Continue);
    stream.on_log();
    assert_eq!(envoy.state("tollgate.estimated").unwrap(), "true");
    assert_eq!(envoy.state("tollgate.output_tokens").unwrap(), "700");
}

#[test]
fn encoded_response_without_memory_is_charged_its_reservation() {
    let envoy = Envoy::with(&configuration("", BUDGET));
    let others = allocate_up_to(26);
    let mut stream = envoy.stream();
    assert_eq!(stream.on_request_headers(true), Next::Continue);
    envoy.host.set_headers(
        HeaderMap::Response,
        &[
            (":status", "200"),
            ("content-type", "application/json"),
            ("content-encoding", "br"),
        ],
    );
    stream.on_response_headers(false);
    // A window of 16 MiB.
    envoy
        .host
        .set_buffer(Buffer::ResponseBody, &[0x8f, 0x01, 0x80, 0x7b, 0x7d, 0x03]);
    stream.on_response_body(6, true);
    stream.on_log();
    drop(others);
    assert_eq!(envoy.state("tollgate.estimated").unwrap(), "true");
    assert!(envoy.state("tollgate.output_tokens").unwrap() != "0");
}
