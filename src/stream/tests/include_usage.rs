//! Usage reports that the filter requests and withholds.

use crate::host::double::Call;
use crate::host::{Buffer, HeaderMap};
use crate::stream::tests::harness::{Envoy, MINUTE, configuration, header, request, send};
use crate::stream::{Next, Stream};

const CHUNK: &str = "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n";
const REPORT: &str = "data: {\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":59,\"total_tokens\":60}}\n\n";

/// Adds a piece to Envoy's buffer, and returns what passes of it.
fn deliver(
    envoy: &Envoy,
    stream: &mut Stream,
    buffer: &mut Vec<u8>,
    piece: &str,
    end: bool,
) -> String {
    buffer.extend_from_slice(piece.as_bytes());
    envoy.host.set_buffer(Buffer::ResponseBody, buffer);
    let next = stream.on_response_body(buffer.len(), end);
    *buffer = envoy.host.buffers.borrow()[&Buffer::ResponseBody].clone();
    match next {
        Next::Continue => String::from_utf8(std::mem::take(buffer)).unwrap(),
        _ => String::new(),
    }
}

#[test]
fn bytes_of_incomplete_event_pass_at_trailers() {
    let begun = &REPORT[..60];
    let unterminated = REPORT.trim_end();
    for (last, kept) in [(begun, begun), (unterminated, ""), (": ping", ": ping")] {
        let envoy = Envoy::new();
        let mut stream = envoy.stream();
        send(&envoy, &mut stream, r#"{"stream":true}"#);
        let headers = [(":status", "200"), ("content-type", "text/event-stream")];
        envoy.host.set_headers(HeaderMap::Response, &headers);
        stream.on_response_headers(false);
        let mut buffer = Vec::new();
        let mut seen = deliver(&envoy, &mut stream, &mut buffer, CHUNK, false);
        assert_eq!(seen, CHUNK, "complete events are not delayed");
        seen += &deliver(&envoy, &mut stream, &mut buffer, &last[..5], false);
        seen += &deliver(&envoy, &mut stream, &mut buffer, &last[5..], false);
        assert_eq!(buffer, last.as_bytes(), "in Envoy's buffer");
        assert_eq!(stream.on_response_trailers(), Next::Continue);
        seen += str::from_utf8(&envoy.host.buffers.borrow()[&Buffer::ResponseBody]).unwrap();
        assert_eq!(seen, format!("{CHUNK}{kept}"));
        stream.on_log();
    }
}

#[test]
fn trailers_after_complete_events_change_no_buffer() {
    let envoy = Envoy::new();
    let mut stream = envoy.stream();
    send(&envoy, &mut stream, r#"{"stream":true}"#);
    let headers = [(":status", "200"), ("content-type", "text/event-stream")];
    envoy.host.set_headers(HeaderMap::Response, &headers);
    stream.on_response_headers(false);
    let mut buffer = Vec::new();
    deliver(&envoy, &mut stream, &mut buffer, CHUNK, false);
    let call = Call::ReplaceBuffer(Buffer::ResponseBody);
    assert_eq!(stream.on_response_trailers(), Next::Continue);
    assert_eq!(envoy.host.count(call), 0, "there is none any more");
}

#[test]
fn usage_report_is_requested_and_withheld() {
    let (chunk, report) = (CHUNK, REPORT);
    for (holds, was_checked) in [(false, false), (true, false), (false, true), (true, true)] {
        let rest = format!(r#", "holdHeaders": {holds}"#);
        let envoy = Envoy::with(&configuration("", &rest));
        let mut stream = envoy.stream();
        let options = if was_checked {
            r#","stream_options":{"include_usage":true}"#
        } else {
            ""
        };
        let body = format!("{{\"stream\":true{options}}}");
        assert_eq!(send(&envoy, &mut stream, &body), Next::Continue);
        let sent = envoy.host.buffers.borrow()[&Buffer::RequestBody].clone();
        let sent = String::from_utf8(sent).unwrap();
        let length = header(&envoy, HeaderMap::Request, "content-length");
        if was_checked {
            assert_eq!(sent, body);
        } else {
            assert_eq!(
                sent,
                r#"{"stream_options":{"include_usage":true},"stream":true}"#
            );
        }
        match (holds, was_checked) {
            (false, _) => assert_eq!(length, None, "it left before the body was known"),
            (true, false) => assert_eq!(length, Some(sent.len().to_string())),
            (true, true) => assert_eq!(length, Some(body.len().to_string())),
        }
        envoy.host.set_headers(
            HeaderMap::Response,
            &[
                (":status", "200"),
                ("content-type", "text/event-stream"),
                ("content-length", "1000"),
            ],
        );
        stream.on_response_headers(false);
        let kept = header(&envoy, HeaderMap::Response, "content-length").is_some();
        assert_eq!(kept, was_checked);
        let (mut seen, mut buffer) = (String::new(), Vec::new());
        for (piece, end) in [
            (chunk, false),
            (&report[..20], false),
            (&report[20..], false),
            ("data: [DONE]\n\n", false),
            ("", true),
        ] {
            seen += &deliver(&envoy, &mut stream, &mut buffer, piece, end);
        }
        stream.on_log();
        let all = format!("{chunk}{report}data: [DONE]\n\n");
        let without = format!("{chunk}data: [DONE]\n\n");
        assert_eq!(
            seen,
            if was_checked { all } else { without },
            "{holds} {was_checked}"
        );
        assert_eq!(envoy.state("tollgate.total_tokens").as_deref(), Some("60"));
        assert_eq!(envoy.state("tollgate.estimated").as_deref(), Some("false"));
    }
}

#[test]
fn unlimited_stream_is_not_changed() {
    let none = r#", "when": [{ "predicate": "llm.model == 'other'" }]"#;
    let envoy = Envoy::with(&configuration(none, ""));
    let mut stream = envoy.stream();
    send(&envoy, &mut stream, r#"{"model":"m","stream":true}"#);
    assert_eq!(
        envoy.host.count(Call::ReplaceBuffer(Buffer::RequestBody)),
        0
    );
    stream.on_log();
    assert_eq!(
        envoy.state("tollgate.decision").as_deref(),
        Some("unmatched")
    );
}

const NAMING: &str = r#"{"error":{"message":"Unrecognized request argument: stream_options"}}"#;
const VAGUE: &str = r#"{"error":{"message":"invalid request"}}"#;

/// Sends a streamed request, and the upstream's response to it. Returns whether usage was requested.
fn ask(envoy: &Envoy, cluster: &str, body: &str, status: &str, response: &str) -> bool {
    let path = &["xds", "cluster_name"];
    envoy.host.set_property(path, cluster.as_bytes());
    let mut stream = envoy.stream();
    assert_eq!(send(envoy, &mut stream, body), Next::Continue);
    let is_asked = envoy.sent().contains("include_usage");
    envoy.host.set_headers(
        HeaderMap::Response,
        &[(":status", status), ("content-type", "application/json")],
    );
    stream.on_response_headers(false);
    let (first, rest) = response.split_at(response.len() / 2);
    envoy.body(&mut stream, first, false);
    envoy.body(&mut stream, rest, true);
    stream.on_log();
    is_asked
}

const STREAM: &str = r#"{"model":"m","stream":true}"#;

#[test]
fn rejecting_upstream_is_not_asked_for_an_hour() {
    let envoy = Envoy::new();
    let rejected = |cluster: &str| ask(&envoy, cluster, STREAM, "400", NAMING);
    let accepted = |cluster: &str| ask(&envoy, cluster, STREAM, "200", "{}");
    assert!(rejected("old"));
    assert!(!accepted("old"), "whether it accepts the request without");
    let metric = || envoy.host.metric("tollgate.include_usage_rejected");
    assert_eq!(metric(), 1);
    for _ in 0..5 {
        assert!(!accepted("old"));
        assert!(accepted("new"), "another cluster");
    }
    let other = r#"{"model":"other","stream":true}"#;
    assert!(ask(&envoy, "old", other, "200", "{}"), "another model");
    envoy.wait(60 * MINUTE);
    assert!(rejected("old"), "an hour later");
    assert!(!accepted("old"));
    assert_eq!(metric(), 2);
    let lines = envoy.log.lines();
    let lines = lines
        .iter()
        .filter(|(_, line)| line.starts_with("include_usage_rejected cluster=old model=m "));
    assert_eq!(lines.count(), 2);
}

#[test]
fn invalid_requests_do_not_stop_requests_for_others() {
    let envoy = Envoy::new();
    assert!(ask(&envoy, "c", STREAM, "200", "{}"));
    let naming = r#"{"model":"m","stream":true,"user":"stream_options"}"#;
    for body in [STREAM, naming] {
        for status in ["400", "422", "401", "404", "429", "500"] {
            let error = if body == naming { NAMING } else { VAGUE };
            assert!(ask(&envoy, "c", body, status, error));
            assert!(ask(&envoy, "c", STREAM, "200", "{}"), "{status} {body}");
        }
    }
    assert_eq!(envoy.host.metric("tollgate.include_usage_rejected"), 0);
}

#[test]
fn error_that_repeats_the_request_does_not_stop_requests_for_others() {
    let envoy = Envoy::new();
    assert!(ask(&envoy, "c", STREAM, "200", "{}"));
    let repeated = r#"{"detail":[{"type":"missing","loc":["messages"],"input":{"stream_options":{"include_usage":true},"model":"m","stream":true}}]}"#;
    // The name is in what is read of the error, and the rest of the request behind it.
    let long = repeated.replace(
        r#""model":"m""#,
        &format!(r#""user":"{}""#, "x".repeat(9_000)),
    );
    for error in [repeated, &long] {
        for _ in 0..5 {
            assert!(ask(&envoy, "c", STREAM, "422", error));
            assert!(ask(&envoy, "c", STREAM, "200", "{}"));
        }
    }
    assert_eq!(envoy.host.metric("tollgate.include_usage_rejected"), 0);
}

#[test]
fn mistral_sdk_with_mistral_model_is_not_asked() {
    let envoy = Envoy::new();
    let ask_as = |user_agent: &'static str, model: &str, status: &str| {
        let body = format!(r#"{{"model":"{model}","stream":true}}"#);
        let mut headers = request("alice").to_vec();
        headers.push(("user-agent", user_agent));
        let mut stream = envoy.stream();
        envoy.host.set_headers(HeaderMap::Request, &headers);
        stream.on_request_headers(false);
        envoy.host.set_buffer(Buffer::RequestBody, body.as_bytes());
        stream.on_request_body(body.len(), true);
        let is_asked = envoy.sent().contains("include_usage");
        let headers = [(":status", status), ("content-type", "application/json")];
        envoy.host.set_headers(HeaderMap::Response, &headers);
        stream.on_response_headers(false);
        envoy.body(&mut stream, "{}", true);
        stream.on_log();
        is_asked
    };
    let (mistral, openai) = ("mistral-client-python/3.7.0", "OpenAI/Python 3.57.0");
    for _ in 0..3 {
        assert!(!ask_as(mistral, "mistral-small", "200"));
        assert!(ask_as(mistral, "o4-mini", "200"), "no model of Mistral");
        assert!(ask_as(openai, "mistral-small", "422"), "another client");
    }
    assert!(ask_as(openai, "mistral-tiny", "200"));
    assert!(
        ask_as(mistral, "mistral-tiny", "200"),
        "an upstream that accepts it"
    );
}

#[test]
fn failure_without_the_field_clears_suspicion() {
    let envoy = Envoy::new();
    assert!(ask(&envoy, "c", STREAM, "400", NAMING));
    assert!(!ask(&envoy, "c", STREAM, "400", VAGUE));
    assert!(ask(&envoy, "c", STREAM, "200", "{}"));
}

#[test]
fn disconnect_ends_the_attempt() {
    let envoy = Envoy::new();
    let mut stream = envoy.stream();
    send(&envoy, &mut stream, STREAM);
    let headers = [(":status", "400"), ("content-type", "application/json")];
    envoy.host.set_headers(HeaderMap::Response, &headers);
    stream.on_response_headers(false);
    envoy.body(&mut stream, NAMING, false);
    stream.on_log();
    assert!(!ask(&envoy, "", STREAM, "200", "{}"));
}

#[test]
fn predicate_decides_which_streams_are_asked() {
    for predicate in [
        "llm.model.startsWith('mistral') ? false : true",
        "requestBodyJSON('/model') != 'mistral-large'",
        "!request.path.endsWith('/completions') || llm.model == 'm'",
    ] {
        let usage = format!(r#", "usage": {{ "includeUsage": "{predicate}" }}"#);
        let envoy = Envoy::with(&configuration("", &usage));
        for _ in 0..2 {
            assert!(ask(&envoy, "c", STREAM, "200", "{}"), "{predicate}");
            let mistral = r#"{"model":"mistral-large","stream":true}"#;
            assert!(!ask(&envoy, "c", mistral, "200", "{}"), "{predicate}");
        }
    }
}

#[test]
fn upstream_that_rejects_the_field_is_not_asked_despite_predicate() {
    let usage = r#", "usage": { "includeUsage": "llm.model != 'other'" }"#;
    let envoy = Envoy::with(&configuration("", usage));
    assert!(ask(&envoy, "c", STREAM, "400", NAMING));
    for _ in 0..5 {
        assert!(!ask(&envoy, "c", STREAM, "200", "{}"));
    }
    assert_eq!(envoy.host.metric("tollgate.include_usage_rejected"), 1);
    assert!(ask(&envoy, "other", STREAM, "200", "{}"));
    envoy.wait(61 * MINUTE);
    assert!(ask(&envoy, "c", STREAM, "200", "{}"));
}

#[test]
fn streams_outside_the_predicate_teach_nothing() {
    let usage = r#", "usage": { "includeUsage": "request.headers['x-user'] == 'nobody'" }"#;
    let envoy = Envoy::with(&configuration("", usage));
    for _ in 0..5 {
        assert!(!ask(&envoy, "c", STREAM, "400", NAMING));
    }
    assert_eq!(envoy.host.metric("tollgate.include_usage_rejected"), 0);
}

#[test]
fn failing_predicate_asks_for_nothing() {
    let usage = r#", "usage": { "includeUsage": "int(request.headers['x-n']) > 1" }"#;
    let envoy = Envoy::with(&configuration("", usage));
    assert!(!ask(&envoy, "c", STREAM, "200", "{}"));
}

#[test]
fn predicate_covers_rewritten_paths() {
    for (include_usage, is_asked) in [("auto", false), ("true", true)] {
        let usage = format!(r#", "usage": {{ "includeUsage": "{include_usage}" }}"#);
        let envoy = Envoy::with(&configuration("", &usage));
        let mut stream = envoy.stream();
        let mut headers = request("alice").to_vec();
        headers[1] = (":path", "/llm/chat");
        envoy.host.set_headers(HeaderMap::Request, &headers);
        stream.on_request_headers(false);
        envoy
            .host
            .set_buffer(Buffer::RequestBody, STREAM.as_bytes());
        stream.on_request_body(STREAM.len(), true);
        assert_eq!(envoy.sent().contains("include_usage"), is_asked);
        stream.on_log();
    }
}

#[test]
fn bodies_of_other_apis_are_not_changed() {
    for path in [
        "/v1/messages",
        "/v1/responses",
        "/v1/embeddings",
        "/v2/chat",
        "/api/chat",
        "/v1/models/gemini:streamGenerateContent",
    ] {
        for holds in [false, true] {
            let rest = format!(r#", "holdHeaders": {holds}"#);
            let envoy = Envoy::with(&configuration("", &rest));
            let mut stream = envoy.stream();
            let body = r#"{"model":"m","stream":true,"max_tokens":1}"#;
            let length = body.len().to_string();
            let mut headers = request("alice").to_vec();
            headers.retain(|(name, _)| *name != ":path");
            headers.push((":path", path));
            headers.push(("content-type", "application/json"));
            headers.push(("content-length", &length));
            envoy.host.set_headers(HeaderMap::Request, &headers);
            stream.on_request_headers(false);
            envoy.host.set_buffer(Buffer::RequestBody, body.as_bytes());
            assert_eq!(stream.on_request_body(body.len(), true), Next::Continue);
            assert_eq!(envoy.sent(), body, "{path}");
            let replaced = envoy.host.count(Call::ReplaceBuffer(Buffer::RequestBody));
            assert_eq!(replaced, 0, "{path}");
            let kept = header(&envoy, HeaderMap::Request, "content-length");
            assert_eq!(kept, Some(length), "{path}");
            stream.on_log();
        }
    }
}

/// Sends a request with these options, and delivers the pieces of its response; returns what passes.
fn exchange(envoy: &Envoy, options: &str, pieces: &[String]) -> String {
    let mut stream = envoy.stream();
    send(envoy, &mut stream, &format!("{{\"stream\":true{options}}}"));
    let headers = [(":status", "200"), ("content-type", "text/event-stream")];
    envoy.host.set_headers(HeaderMap::Response, &headers);
    stream.on_response_headers(false);
    let (mut seen, mut buffer) = (String::new(), Vec::new());
    for piece in pieces {
        seen += &deliver(envoy, &mut stream, &mut buffer, piece, false);
    }
    seen += &deliver(envoy, &mut stream, &mut buffer, "", true);
    stream.on_log();
    seen
}

const REQUESTED: &str = r#","stream_options":{"include_usage":true}"#;

#[test]
fn report_after_long_pieces_is_metered_and_withheld() {
    let finish = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let text = CHUNK.repeat(1_500);
    let all = format!("{text}{finish}{REPORT}data: [DONE]\n\n");
    for options in ["", REQUESTED] {
        for size in [16_384, 65_536, 131_072] {
            let envoy = Envoy::new();
            let pieces = all.as_bytes().chunks(size);
            let pieces = pieces.map(|piece| String::from_utf8(piece.to_vec()).unwrap());
            let seen = exchange(&envoy, options, &pieces.collect::<Vec<_>>());
            let expected = match options {
                "" => all.replace(REPORT, ""),
                _ => all.clone(),
            };
            assert!(seen == expected, "{options} {size}");
            assert_eq!(envoy.state("tollgate.total_tokens").as_deref(), Some("60"));
        }
    }
}

#[test]
fn report_is_withheld_wherever_a_long_piece_ends() {
    let finish = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let text = CHUNK.repeat(120);
    let begun = CHUNK.repeat(20);
    let rest = format!("{text}{finish}{REPORT}data: [DONE]\n\n");
    let expected = format!("{begun}{rest}").replace(REPORT, "");
    for cut in text.len() - 2 * CHUNK.len()..rest.len() {
        let envoy = Envoy::new();
        let pieces = [&begun, &rest[..cut], &rest[cut..]].map(str::to_owned);
        assert_eq!(exchange(&envoy, "", &pieces), expected, "{cut}");
        assert_eq!(envoy.state("tollgate.total_tokens").as_deref(), Some("60"));
    }
}

#[test]
fn only_ends_of_long_pieces_are_read() {
    // What is not read is a report that text follows.
    let after_other = vec![CHUNK.repeat(20), format!("{REPORT}{}", CHUNK.repeat(200))];
    let first = vec![format!(
        "{}{REPORT}{}",
        CHUNK.repeat(150),
        CHUNK.repeat(1_000)
    )];
    for pieces in [after_other, first] {
        for options in ["", REQUESTED] {
            let envoy = Envoy::new();
            let seen = exchange(&envoy, options, &pieces);
            assert!(seen == pieces.concat(), "{} {options}", seen.len());
            let is_estimated = envoy.state("tollgate.estimated");
            assert_eq!(is_estimated.as_deref(), Some("true"), "{options}");
        }
    }
}
