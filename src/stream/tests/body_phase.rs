//! The body phase: decisions that wait for the request's body.

use crate::host::double::Call;
use crate::host::{Buffer, Direction, HeaderMap};
use crate::stream::tests::harness::{BODY_WHEN, Envoy, completion, configuration, request, send};
use crate::stream::{Next, Stream};

#[test]
fn keys_of_whole_body_can_be_optional() {
    for (predicate, body, decision) in [
        (
            r#"requestBodyJSON(\"\").?user.orValue('x') == 'x'"#,
            r#"{"model":"m"}"#,
            "admitted",
        ),
        (
            r#"requestBodyJSON(\"\").?user.orValue('x') == 'x'"#,
            r#"{"user":"y"}"#,
            "unmatched",
        ),
        (
            r#"has(requestBodyJSON(\"\").user)"#,
            r#"{"user":"y"}"#,
            "admitted",
        ),
        (
            r#"has(requestBodyJSON(\"\").user)"#,
            r#"{"model":"m"}"#,
            "unmatched",
        ),
    ] {
        let when = format!(r#", "when": [{{ "predicate": "{predicate}" }}]"#);
        let envoy = Envoy::with(&configuration(&when, ""));
        let mut stream = envoy.stream();
        send(&envoy, &mut stream, body);
        stream.on_response_headers(false);
        envoy.body(&mut stream, &completion(60), true);
        stream.on_log();
        let found = envoy.state("tollgate.decision");
        assert_eq!(found.as_deref(), Some(decision), "{predicate} {body}");
    }
}

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
        let (begin, rest) = body.split_at(5);
        assert_eq!(piece(&envoy, &mut stream, begin, false), Next::Watermark);
        assert_eq!(envoy.sent(), "", "it is taken out of Envoy's buffer");
        let next = piece(&envoy, &mut stream, rest, true);
        assert_eq!(envoy.sent(), body);
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
    let mut headers = request("alice").to_vec();
    headers.push(("trailer", "x-sum"));
    envoy.host.set_headers(HeaderMap::Request, &headers);
    assert_eq!(stream.on_request_headers(false), Next::Pause);
    let body = "{\"model\":\"big\"}";
    assert_eq!(piece(&envoy, &mut stream, body, false), Next::Pause);
    assert_eq!(envoy.sent(), body, "Envoy passes on what is in its buffer");
    assert_eq!(stream.on_request_trailers(), Next::Continue);
    stream.on_log();
    assert_eq!(
        envoy.state("tollgate.decision").as_deref(),
        Some("admitted")
    );
}

/// Sends a piece of a body.
fn piece(envoy: &Envoy, stream: &mut Stream, piece: &str, end: bool) -> Next {
    envoy.host.set_buffer(Buffer::RequestBody, piece.as_bytes());
    stream.on_request_body(piece.len(), end)
}

/// Returns an exchange whose request headers were passed on.
fn begun(envoy: &Envoy, more: &[(&'static str, &'static str)]) -> Stream {
    let mut stream = envoy.stream();
    let mut headers = request("alice").to_vec();
    headers.extend_from_slice(more);
    envoy.host.set_headers(HeaderMap::Request, &headers);
    assert_eq!(stream.on_request_headers(false), Next::Continue);
    stream
}

/// Ends an exchange; its decision.
fn decision(envoy: &Envoy, mut stream: Stream) -> String {
    stream.on_log();
    envoy.state("tollgate.decision").unwrap_or_default()
}

#[test]
fn unread_values_are_missing() {
    let max = r#", "requestBody": { "maxBytes": 1024 }"#;
    let envoy = Envoy::with(&configuration(BODY_WHEN, max));
    let padding = " ".repeat(1_010);
    for (first, second, expected) in [
        ("{\"model\":\"big\",", padding.as_str(), "admitted"),
        ("{\"a\":1,", padding.as_str(), "unmatched"),
        // What is malformed is not known to be: a part of it was not read.
        ("{\"model\":NaN,", padding.as_str(), "unmatched"),
    ] {
        let mut stream = begun(&envoy, &[]);
        assert_eq!(piece(&envoy, &mut stream, first, false), Next::Watermark);
        let second = format!("{second}{second}");
        assert_eq!(piece(&envoy, &mut stream, &second, false), Next::Continue);
        assert_eq!(envoy.sent(), format!("{first}{second}"));
        assert_eq!(piece(&envoy, &mut stream, "\"b\":2}", true), Next::Continue);
        assert_eq!(envoy.sent(), "\"b\":2}");
        assert_eq!(decision(&envoy, stream), expected, "{first}");
    }
    for (body, expected) in [
        ("\u{1f}compressed", "unmatched"),
        // Not compressed, whatever its label says.
        ("{\"model\":\"big\"}", "admitted"),
    ] {
        let mut stream = begun(&envoy, &[("content-encoding", "gzip"), ("x-user", "eve")]);
        assert_eq!(piece(&envoy, &mut stream, body, true), Next::Continue);
        assert_eq!(decision(&envoy, stream), expected, "{body}");
    }
    let form = ("content-type", "multipart/form-data; boundary=x");
    let mut stream = begun(&envoy, &[form, ("x-user", "eve")]);
    piece(&envoy, &mut stream, "{\"model\":\"big\"}", true);
    assert_eq!(decision(&envoy, stream), "admitted", "no form");
    assert!(envoy.host.replies.borrow().is_empty());

    // A POST that says it is an upgrade is read all the same.
    let mut stream = begun(&envoy, &[("upgrade", "websocket"), ("x-user", "bob")]);
    piece(&envoy, &mut stream, "{\"model\":\"big\"}", true);
    assert_eq!(decision(&envoy, stream), "admitted");
}

#[test]
fn bound_does_not_depend_on_pieces() {
    let body = "{\"a\":\"xxxxxxxx\",\"model\":\"big\",\"b\":1}";
    let seen = body.find(",\"b\"").unwrap();
    for (max, expected) in [(seen, "admitted"), (seen - 1, "unmatched")] {
        let rest = format!(r#", "requestBody": {{ "maxBytes": {max} }}"#);
        for cut in 0..body.len() {
            let envoy = Envoy::with(&configuration(BODY_WHEN, &rest));
            let mut stream = begun(&envoy, &[]);
            let (begin, end) = body.split_at(cut);
            let mut sent = String::new();
            if piece(&envoy, &mut stream, begin, false) == Next::Continue {
                sent += &envoy.sent();
            }
            assert_eq!(piece(&envoy, &mut stream, end, true), Next::Continue);
            sent += &envoy.sent();
            assert_eq!(sent, body);
            assert_eq!(decision(&envoy, stream), expected, "{max} {cut}");
        }
    }
}

#[test]
fn worker_holds_a_bounded_sum_of_bodies() {
    let max = r#", "requestBody": { "workerBytes": 100 }"#;
    let envoy = Envoy::with(&configuration(BODY_WHEN, max));
    let text = format!("{{\"a\":\"{}", "x".repeat(60));
    let mut first = begun(&envoy, &[]);
    assert_eq!(piece(&envoy, &mut first, &text, false), Next::Watermark);
    let mut second = begun(&envoy, &[]);
    assert_eq!(
        piece(&envoy, &mut second, &text, false),
        Next::Continue,
        "decided on by what was read"
    );
    assert_eq!(envoy.sent(), text);
    // A client that disconnects gives its share back.
    first.on_log();
    drop(first);
    let mut third = begun(&envoy, &[]);
    assert_eq!(piece(&envoy, &mut third, &text, false), Next::Watermark);
}

#[test]
fn content_length_ends_the_body() {
    let envoy = Envoy::with(&configuration(BODY_WHEN, ""));
    let body = "{\"model\":\"big\"}";
    let mut stream = begun(&envoy, &[("content-length", "15")]);
    envoy.host.calls.borrow_mut().clear();
    assert_eq!(piece(&envoy, &mut stream, body, false), Next::Continue);
    let bodies = [
        Call::Buffer(Buffer::RequestBody),
        Call::ReplaceBuffer(Buffer::RequestBody),
    ];
    let calls = bodies.map(|call| envoy.host.count(call));
    assert_eq!(calls, [1, 0], "a whole body is read once and stays");
    assert_eq!(piece(&envoy, &mut stream, "", true), Next::Continue);
    assert_eq!(stream.on_request_trailers(), Next::Continue);
    assert_eq!(envoy.host.count(bodies[0]), 1);
    assert_eq!(decision(&envoy, stream), "admitted");
}

#[test]
fn small_body_stays_in_envoy_before_possible_trailers() {
    let envoy = Envoy::with(&configuration(BODY_WHEN, ""));
    let protocol = ["request", "protocol"];
    envoy.host.set_property(&protocol, b"HTTP/2");
    let body = "{\"model\":\"big\"}";
    let mut stream = begun(&envoy, &[]);
    assert_eq!(piece(&envoy, &mut stream, &body[..5], false), Next::Pause);
    // The next callback is about all that is in the buffer.
    assert_eq!(piece(&envoy, &mut stream, body, false), Next::Pause);
    assert_eq!(stream.on_request_trailers(), Next::Continue);
    assert_eq!(envoy.sent(), body);
    assert_eq!(decision(&envoy, stream), "admitted");

    // A larger one is taken out of it.
    let large = format!("{{\"model\":\"big\",\"a\":\"{}", "x".repeat(16_384));
    let mut stream = begun(&envoy, &[("x-user", "bob")]);
    assert_eq!(piece(&envoy, &mut stream, &large[..99], false), Next::Pause);
    assert_eq!(piece(&envoy, &mut stream, &large, false), Next::Watermark);
    assert_eq!(envoy.sent(), "");
    assert_eq!(piece(&envoy, &mut stream, "\"}", true), Next::Continue);
    assert_eq!(envoy.sent(), format!("{large}\"}}"));
    assert_eq!(decision(&envoy, stream), "admitted");

    // Envoy would pass it on without its beginning if trailers ended it all the same.
    let mut stream = begun(&envoy, &[("x-user", "carol")]);
    piece(&envoy, &mut stream, &large, false);
    assert_eq!(stream.on_request_trailers(), Next::Pause);
    assert_eq!(envoy.host.replies.borrow()[0].status, 500);
    assert_eq!(decision(&envoy, stream), "failed");
}

#[test]
fn malformed_body_is_an_error_of_the_client() {
    for (rest, path, kind) in [
        (
            "",
            "/v1/chat/completions",
            "\"type\":\"invalid_request_error\"",
        ),
        (
            r#", "failureMode": "allow""#,
            "/v1/messages",
            "\"type\":\"invalid_request_error\"",
        ),
        (
            "",
            "/v1beta/models/gemini:generateContent",
            "INVALID_ARGUMENT",
        ),
    ] {
        for spec in [
            BODY_WHEN,
            r#", "when": [{ "predicate": "llm.model != 'small'" }]"#,
            r#", "reservation": { "amount": "requestBodyJSON('/a')" }"#,
            r#", "cost": "requestBodyJSON('/a') == 1 ? 1 : 2""#,
        ] {
            let envoy = Envoy::with(&configuration(spec, rest));
            let mut stream = begun(&envoy, &[(":path", path)]);
            let body = "{\"model\":\"big\",\"a\":NaN}";
            assert_eq!(piece(&envoy, &mut stream, body, true), Next::Pause);
            let reply = envoy.host.replies.borrow()[0].clone();
            assert_eq!((reply.status, reply.grpc_status), (400, 3));
            assert_eq!(reply.details, "tollgate_invalid_request");
            assert!(reply.body.contains(kind), "{}", reply.body);
            assert_eq!(decision(&envoy, stream), "invalid_request");
            assert_eq!(envoy.host.metric("tollgate.evaluation_errors"), 0);
            assert!(envoy.log.lines().is_empty(), "no alert");
        }
    }
}

#[test]
fn malformed_body_passes_where_no_limit_needs_it() {
    let shadow = format!("{BODY_WHEN}, \"shadow\": true");
    for (spec, content_type, expected) in [
        ("", "application/json", "admitted"),
        (&shadow, "application/json", "unmatched"),
        (BODY_WHEN, "text/plain", "unmatched"),
    ] {
        let envoy = Envoy::with(&configuration(spec, ""));
        let mut stream = begun(&envoy, &[("content-type", content_type)]);
        let next = piece(&envoy, &mut stream, "not json", true);
        assert_eq!(next, Next::Continue, "{spec} {content_type}");
        assert_eq!(decision(&envoy, stream), expected);
    }
}

#[test]
fn missing_model_has_a_substitute() {
    let spec = r#", "reservation": { "amount":
        "llm.?estimated_input_tokens.orValue(7) + llm.?max_output_tokens.orValue(4)" }"#;
    let envoy = Envoy::with(&configuration(spec, ""));
    let stream = begun(&envoy, &[("content-encoding", "gzip")]);
    assert_eq!(
        envoy
            .host
            .metric("tollgate.reserved.policy=test/llm.limit=free"),
        11
    );
    assert_eq!(decision(&envoy, stream), "admitted");
}

#[test]
fn picture_reserves_what_pictures_cost() {
    let picture = "iVBORw0KGgo".repeat(100_000);
    let body = format!(
        r#"{{"max_tokens":9,"messages":[{{"content":[{{"type":"text","text":"What is it?"}},
        {{"type":"image_url","image_url":{{"url":"data:image/png;base64,{picture}"}}}}]}}]}}"#
    );
    let envoy = Envoy::with(&configuration("", "").replace("\"limit\": 50", "\"limit\": 5000000"));
    let reserved_of = |body: &str| {
        let mut stream = begun(&envoy, &[]);
        piece(&envoy, &mut stream, body, true);
        let name = "tollgate.reserved.policy=test/llm.limit=free";
        let reserved = envoy.host.metric(name);
        stream.on_log();
        reserved
    };
    let tokens = reserved_of(&body);
    assert!((1_000..1_100).contains(&tokens), "{tokens}");
    let mut stream = begun(&envoy, &[("content-type", "image/png")]);
    let name = "tollgate.reserved.policy=test/llm.limit=free";
    let tokens = envoy.host.metric(name);
    assert!((1_000..2_000).contains(&tokens), "{tokens}");
    stream.on_log();
}

#[test]
fn form_has_its_model() {
    let spec = r#", "when": [{ "predicate": "llm.model == 'whisper-1'" }]"#;
    let envoy = Envoy::with(&configuration(spec, ""));
    let kind = [("content-type", "multipart/form-data; boundary=b")];
    for (model, expected) in [("whisper-1", "admitted"), ("other", "unmatched")] {
        let mut stream = begun(&envoy, &kind);
        let body = format!(
            "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--b--\r\n"
        );
        let (begin, rest) = body.split_at(20);
        assert_eq!(piece(&envoy, &mut stream, begin, false), Next::Watermark);
        assert_eq!(piece(&envoy, &mut stream, rest, true), Next::Continue);
        assert_eq!(envoy.sent(), body);
        assert_eq!(decision(&envoy, stream), expected);
    }
}

#[test]
fn early_response_is_decided_on_without_body() {
    let envoy = Envoy::with(&configuration("", ""));
    let mut stream = begun(&envoy, &[]);
    assert_eq!(
        piece(&envoy, &mut stream, "{\"a\":", false),
        Next::Watermark
    );
    stream.on_response_headers(false);
    assert!(envoy.host.resumed.borrow().is_empty());
    assert_eq!(piece(&envoy, &mut stream, "1", false), Next::Continue);
    assert_eq!(envoy.sent(), "{\"a\":1", "what was held comes first");
    assert_eq!(piece(&envoy, &mut stream, "}", true), Next::Continue);
    assert_eq!(envoy.sent(), "}");
    assert_eq!(decision(&envoy, stream), "admitted");

    let envoy = Envoy::with(&configuration("", ""));
    let mut stream = begun(&envoy, &[("trailer", "x-sum"), ("x-user", "bob")]);
    assert_eq!(piece(&envoy, &mut stream, "{\"a\":", false), Next::Pause);
    stream.on_response_headers(false);
    assert_eq!(*envoy.host.resumed.borrow(), [Direction::Request]);
    stream.on_log();

    let envoy = Envoy::with(&configuration(BODY_WHEN, ""));
    let mut stream = begun(&envoy, &[]);
    piece(&envoy, &mut stream, "{\"a\":", false);
    envoy
        .host
        .set_headers(HeaderMap::Response, &[(":status", "401")]);
    assert_eq!(stream.on_response_headers(false), Next::Continue);
    assert_eq!(piece(&envoy, &mut stream, "1}", true), Next::Continue);
    assert_eq!(envoy.sent(), "{\"a\":1}");
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
