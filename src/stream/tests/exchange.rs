//! Whole exchanges: what is charged, when, and how often.

use crate::host::double::Call;
use crate::host::{Buffer, Direction, HeaderMap, HostError};
use crate::stream::Next;
use crate::stream::tests::harness::{BODY_WHEN, Envoy, MINUTE, completion, configuration, send};

#[test]
fn limit_rejects_when_exhausted_until_window_ends() {
    let envoy = Envoy::new();
    assert!(envoy.exchange(100), "while a token is left");
    assert_eq!(
        envoy.state("tollgate.decision").as_deref(),
        Some("admitted")
    );
    assert_eq!(envoy.state("tollgate.total_tokens").as_deref(), Some("100"));
    assert!(!envoy.exchange(100));
    assert_eq!(envoy.state("tollgate.decision").as_deref(), Some("denied"));
    assert_eq!(envoy.state("tollgate.limit").as_deref(), Some("free"));
    let replies = envoy.host.replies.borrow();
    let [reply] = replies.as_slice() else {
        panic!("one reply, not {replies:?}");
    };
    assert_eq!(reply.status, 429);
    assert_eq!(reply.header("retry-after"), Some("60"));
    assert_eq!(
        reply.header("x-ratelimit-limit"),
        Some("50, 50;w=60;name=\"free\"")
    );
    assert_eq!(reply.header("x-ratelimit-remaining"), Some("0"));
    assert_eq!(reply.header("x-ratelimit-reset"), Some("60"));
    let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(body["error"]["code"], "rate_limit_exceeded");
    assert!(body["error"]["message"].as_str().unwrap().contains("free"));

    envoy.host.clock.set(1_001 * MINUTE);
    assert!(envoy.exchange(1), "a new window");
}

#[test]
fn usage_is_charged_before_its_bytes_pass() {
    let envoy = Envoy::new();
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    stream.on_request_body(100, true);
    stream.on_response_headers(false);
    envoy.body(&mut stream, &completion(60), false);
    assert!(!envoy.exchange(1), "charged though the body has not ended");
    stream.on_log();
}

#[test]
fn exchange_is_charged_once() {
    let envoy = Envoy::new();
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    stream.on_response_headers(false);
    envoy.body(&mut stream, &completion(30), true);
    envoy.body(&mut stream, &completion(30), true);
    stream.on_response_trailers();
    stream.on_log();
    assert_eq!(envoy.host.metric("tollgate.tokens.kind=output.model=m"), 29);
    assert!(envoy.exchange(1), "30 of 50 are used");
}

#[test]
fn disconnect_mid_response_is_charged_an_estimate() {
    let envoy = Envoy::new();
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    stream.on_request_body(400, true);
    stream.on_response_headers(false);
    let body = r#"{"object":"chat.completion","choices":[{"message":{"content":"0123456789"#;
    envoy.body(&mut stream, body, false);
    stream.on_log();
    assert_eq!(envoy.state("tollgate.estimated").as_deref(), Some("true"));
    assert!(
        !envoy.exchange(1),
        "400 bytes of request are more than 50 tokens"
    );
}

#[test]
fn disconnect_before_response_is_charged_its_input() {
    let envoy = Envoy::new();
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    stream.on_request_body(400, true);
    let details = b"downstream_remote_disconnect";
    envoy
        .host
        .set_property(&["response", "code_details"], details);
    stream.on_log();
    assert_eq!(envoy.state("tollgate.input_tokens").as_deref(), Some("89"));
    assert!(!envoy.exchange(1));
}

#[test]
fn failed_upstream_costs_nothing() {
    let envoy = Envoy::new();
    for (status, end) in [("503", false), ("404", true), ("204", true), ("304", true)] {
        let mut stream = envoy.stream();
        stream.on_request_headers(false);
        stream.on_request_body(1_000, true);
        let headers = [(":status", status), ("content-type", "application/json")];
        envoy.host.set_headers(HeaderMap::Response, &headers);
        stream.on_response_headers(end);
        if !end {
            envoy.body(&mut stream, r#"{"error":{"message":"no"}}"#, true);
        }
        stream.on_log();
    }
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    stream.on_request_body(1_000, true);
    stream.on_log();
    assert!(envoy.exchange(1), "nothing is used yet");
}

#[test]
fn upgraded_connection_passes_unmetered() {
    let envoy = Envoy::new();
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    envoy
        .host
        .set_headers(HeaderMap::Response, &[(":status", "101")]);
    stream.on_response_headers(false);
    for _ in 0..3 {
        assert_eq!(
            envoy.body(&mut stream, &completion(1_000), false),
            Next::Continue
        );
        assert_eq!(stream.on_request_body(1_000, false), Next::Continue);
    }
    stream.on_log();
    assert!(envoy.exchange(1));
}

#[test]
fn failing_host_gets_at_most_one_reply() {
    let calls = [
        Call::Headers(HeaderMap::Request),
        Call::Headers(HeaderMap::Response),
        Call::Buffer(Buffer::RequestBody),
        Call::Buffer(Buffer::ResponseBody),
        Call::SharedData,
        Call::SetSharedData,
        Call::Now,
        Call::Reply,
        Call::Resume(Direction::Request),
        Call::SetFilterState,
        Call::WriteMetric,
    ];
    for spec in ["", BODY_WHEN] {
        for call in calls {
            let envoy = Envoy::with(&configuration(spec, ""));
            for used in [60, 60] {
                let mut stream = envoy.stream();
                envoy.host.fail(call, 3, HostError::InternalFailure);
                let replies = envoy.host.replies.borrow().len();
                stream.on_request_headers(false);
                envoy
                    .host
                    .set_buffer(Buffer::RequestBody, b"{\"model\":\"big\"}");
                stream.on_request_body(15, true);
                stream.on_request_trailers();
                stream.on_response_headers(false);
                envoy.body(&mut stream, &completion(used), true);
                stream.on_response_trailers();
                let before = envoy.host.replies.borrow().len();
                stream.on_log();
                assert!(before <= replies + 1, "{call:?}: one reply at most");
                assert_eq!(
                    envoy.host.replies.borrow().len(),
                    before,
                    "{call:?}: none at the end"
                );
            }
            assert!(envoy.host.resumed.borrow().is_empty(), "{call:?}");
        }
    }
}

#[test]
fn unrecorded_usage_counts_as_storage_error() {
    let envoy = Envoy::new();
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    stream.on_response_headers(false);
    envoy
        .host
        .fail(Call::SetSharedData, 1_000, HostError::InternalFailure);
    envoy.body(&mut stream, &completion(60), true);
    stream.on_log();
    assert_eq!(envoy.host.metric("tollgate.storage_errors"), 1);
}

#[test]
fn interrupted_stream_costs_at_least_its_report() {
    let envoy = Envoy::new();
    let mut stream = envoy.stream();
    send(&envoy, &mut stream, r#"{"stream":true}"#);
    let headers = [(":status", "200"), ("content-type", "text/event-stream")];
    envoy.host.set_headers(HeaderMap::Response, &headers);
    stream.on_response_headers(false);
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":45,\"output_tokens\":1}}}\n\n";
    envoy.body(&mut stream, start, false);
    let text = "x".repeat(430);
    let delta = format!(
        "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n"
    );
    envoy.body(&mut stream, &delta, false);
    stream.on_log();
    assert_eq!(envoy.state("tollgate.input_tokens").as_deref(), Some("45"));
    assert_eq!(
        envoy.state("tollgate.output_tokens").as_deref(),
        Some("100")
    );
    assert_eq!(envoy.state("tollgate.estimated").as_deref(), Some("true"));
}

#[test]
fn completion_without_plausible_report_is_estimated() {
    for usage in [
        "",
        r#","usage":{}"#,
        r#","usage":null"#,
        r#","usage":{"prompt_tokens":-9,"completion_tokens":-9,"total_tokens":-9}"#,
    ] {
        let envoy = Envoy::new();
        let mut stream = envoy.stream();
        send(&envoy, &mut stream, r#"{"messages":[]}"#);
        stream.on_response_headers(false);
        let text = "x".repeat(430);
        let body = format!(
            r#"{{"object":"chat.completion","choices":[{{"message":{{"content":"{text}"}}}}]{usage}}}"#
        );
        envoy.body(&mut stream, &body, true);
        stream.on_log();
        assert_eq!(
            envoy.state("tollgate.output_tokens").as_deref(),
            Some("100"),
            "{usage}"
        );
        assert_eq!(
            envoy.state("tollgate.estimated").as_deref(),
            Some("true"),
            "{usage}"
        );
    }
}

#[test]
fn implausible_usage_is_counted_and_logged_once() {
    let envoy = Envoy::with(&configuration("", "").replace("50,", "1000,"));
    for _ in 0..3 {
        let mut stream = envoy.stream();
        stream.on_request_headers(true);
        stream.on_response_headers(false);
        let absurd =
            completion(5).replace("\"completion_tokens\":4", "\"completion_tokens\":1e400");
        envoy.body(&mut stream, &absurd, true);
        stream.on_log();
        assert_eq!(envoy.state("tollgate.estimated").as_deref(), Some("true"));
    }
    assert_eq!(envoy.host.metric("tollgate.unreadable_usage"), 3);
    let lines = envoy.log.lines();
    let lines: Vec<_> = lines
        .iter()
        .filter(|(_, line)| line.starts_with("usage_unreadable"))
        .collect();
    assert_eq!(lines.len(), 1, "a caller cannot cause more");
    assert!(envoy.exchange(1), "the caller is not locked out");
}

#[test]
fn configured_pointer_finds_total() {
    let json = configuration("", r#", "usage": { "paths": ["/meta/spent"] }"#);
    let envoy = Envoy::with(&json);
    let mut stream = envoy.stream();
    stream.on_request_headers(true);
    stream.on_response_headers(false);
    envoy.body(&mut stream, r#"{"meta":{"spent":33}}"#, true);
    stream.on_log();
    assert_eq!(envoy.state("tollgate.total_tokens").as_deref(), Some("33"));
}

#[test]
fn rejection_names_requested_model() {
    let envoy = Envoy::with(&configuration(BODY_WHEN, ""));
    for decision in ["admitted", "denied"] {
        let mut stream = envoy.stream();
        if send(&envoy, &mut stream, r#"{"model":"big"}"#) == Next::Continue {
            envoy.answer(&mut stream, 60);
        } else {
            stream.on_log();
        }
        assert_eq!(envoy.state("tollgate.decision").as_deref(), Some(decision));
        let model = if decision == "denied" { "big" } else { "m" };
        assert_eq!(envoy.state("tollgate.model").as_deref(), Some(model));
    }
}
