//! The end of the worker's memory: what requests do without, and when they are rejected.

use super::harness::*;
use crate::host::Buffer;
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
    drop(others);
    assert!(envoy.exchange(10), "memory is there again");
}

#[test]
fn admitted_exchange_is_charged_without_memory() {
    let envoy = Envoy::with(&configuration("", BUDGET));
    let mut stream = envoy.stream();
    assert_eq!(stream.on_request_headers(true), Next::Continue);
    let others = allocate_up_to(32);
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
