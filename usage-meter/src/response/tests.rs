mod configured;
mod corpus;
mod deliveries;
mod dialects;
mod extrapolation;
mod hostile;
mod inline;
mod partial;
mod recordings;
mod reports;
mod shapes;
mod splits;
mod stored;
mod tails;
mod unknown;

use std::io::Write as _;

use crate::{Meter, RequestPath, ResponseHead, Usage};

/// Returns the head of a successful response with this content type.
fn head(content_type: &str) -> ResponseHead<'_> {
    ResponseHead {
        status: 200,
        content_type: Some(content_type.as_bytes()),
        path: RequestPath::of(b"/v1/chat/completions"),
        ..ResponseHead::default()
    }
}

/// Returns input, output, total, cached, cache creation and reasoning tokens.
fn numbers(usage: Usage) -> [u64; 6] {
    [
        usage.input_tokens,
        usage.output_tokens,
        usage.total_tokens,
        usage.cached_tokens,
        usage.cache_creation_tokens,
        usage.reasoning_tokens,
    ]
}

/// Reads a body in one piece.
fn read(content_type: &str, body: &[u8]) -> Meter {
    let mut meter = Meter::new(&head(content_type));
    meter.push(body);
    meter.finish();
    meter
}

/// Reads a body in single bytes.
fn read_bytes(head: &ResponseHead<'_>, body: &[u8]) -> Meter {
    let mut meter = Meter::new(head);
    for byte in body {
        meter.push(&[*byte]);
    }
    meter.finish();
    meter
}

/// Returns input, output and total tokens.
fn tokens(meter: &Meter) -> Option<(u64, u64, u64)> {
    meter
        .usage()
        .map(|usage| (usage.input_tokens, usage.output_tokens, usage.total_tokens))
}

const JSON: &str = "application/json";
const SSE: &str = "text/event-stream; charset=utf-8";

#[test]
fn chat_completion_reports_every_count() {
    let body = br#"{
      "id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4o-2024-08-06",
      "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi \"you\""}}],
      "usage": {
        "prompt_tokens": 20, "completion_tokens": 12, "total_tokens": 32,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 5}
      }
    }"#;
    let meter = read(JSON, body);
    assert_eq!(
        meter.usage(),
        Some(Usage {
            input_tokens: 20,
            output_tokens: 12,
            total_tokens: 32,
            cached_tokens: 8,
            cache_creation_tokens: 0,
            reasoning_tokens: 5,
        })
    );
    assert_eq!(meter.model(), Some("gpt-4o-2024-08-06"));
    assert!(meter.is_completion() && meter.is_likely_final());
    assert!(!meter.has_unreadable_counts() && !meter.is_unread());
    assert_eq!(meter.output_bytes(), 8);
    let raw = meter.raw_usage().unwrap();
    assert!(raw.starts_with(b"{\n        \"prompt_tokens\": 20") && raw.ends_with(b"}"));
}

#[test]
fn usage_before_choices_is_read() {
    let meter = read(
        JSON,
        br#"{"usage":{"total_tokens":5,"prompt_tokens":2,"completion_tokens":3},"choices":[]}"#,
    );
    assert_eq!(tokens(&meter), Some((2, 3, 5)));
}

#[test]
fn embeddings_report_input_only() {
    let meter = read(
        JSON,
        br#"{"object":"list","data":[{"embedding":[0.1,-2e-3]}],"usage":{"prompt_tokens":2,"total_tokens":2}}"#,
    );
    assert_eq!(tokens(&meter), Some((2, 0, 2)));
    assert!(meter.is_completion());
}

#[test]
fn usage_at_other_paths_is_ignored() {
    let body = br#"{"object":"chat.completion","choices":[
        {"message":{"content":"{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}} usage",
         "usage":{"prompt_tokens":7,"total_tokens":9},
         "tool_calls":[{"function":{"arguments":{"usage":{"total_tokens":4}}}}]}}],
        "metadata":{"usage":{"prompt_tokens":7}},
        "usages":{"prompt_tokens":7}}"#;
    let meter = read(JSON, body);
    assert_eq!(meter.usage(), None);
    assert_eq!(meter.raw_usage(), None);
    assert!(meter.is_completion());
}

#[test]
fn keys_with_escapes_are_read() {
    let meter = read(
        JSON,
        br#"{"us\u0061ge":{"prompt\u005Ftokens":3,"completion_tokens":4},"\u0063hoices":[]}"#,
    );
    assert_eq!(tokens(&meter), Some((3, 4, 7)));
    assert!(meter.is_completion());
}

#[test]
fn largest_of_duplicate_keys_wins() {
    let twice = br#"{"usage":{"prompt_tokens":1,"completion_tokens":5},"usage":{"prompt_tokens":2,"prompt_tokens":3}}"#;
    assert_eq!(tokens(&read(JSON, twice)), Some((1, 5, 6)));
    let null = br#"{"usage":{"prompt_tokens":1},"usage":null}"#;
    assert_eq!(tokens(&read(JSON, null)), Some((1, 0, 1)));
}

#[test]
fn usage_in_extra_chunk_makes_stream_likely_final() {
    let body: String = ["usage", " of", " words"]
        .map(|word| {
            format!(
                r#"data: {{"object":"chat.completion.chunk","model":"m","choices":[{{"delta":{{"content":"{word}"}}}}],"usage":null}}"#
            ) + "\n\n"
        })
        .concat();
    let mut meter = Meter::new(&head(SSE));
    meter.push(body.as_bytes());
    assert_eq!((meter.usage(), meter.is_likely_final()), (None, false));
    assert!(meter.is_completion());
    assert_eq!(meter.output_bytes(), 14);
    meter.push(b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}\n\n");
    assert!(meter.is_likely_final());
    meter.push(b"data: [DONE]\n\n");
    meter.finish();
    assert_eq!(tokens(&meter), Some((3, 4, 7)));
    assert_eq!(meter.model(), Some("m"));
}

#[test]
fn every_valid_event_framing_is_read() {
    let report = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
    let (head, tail) = report.split_once(",\"usage").unwrap();
    for body in [
        format!("data: {report}\n\n"),
        format!("data:{report}\n\n"),
        format!("data: {report}\r\n\r\n"),
        format!("data: {report}\r\r"),
        format!("data: {report}"),
        format!("data: {report}\n"),
        format!("\u{feff}data: {report}\n\n"),
        format!(": ping\n\n: ping\r\n\r\nid: 4\nretry: 5\ndata: {report}\n\n"),
        format!("event: message\ndata: {head}\ndata: ,\"usage{tail}\nid: 1\n\n"),
        format!("data\ndata: {report}\ndata:\n\n"),
        format!("other: field\ndata: {report}\n\n"),
        format!("\n\n\r\rdata: {report}\n\ndata: [DONE]"),
        format!("data:  {report}\n\ndata: {{\"choices\":[{{}}],\"usage\":null}}\n\n"),
    ] {
        let meter = read(SSE, body.as_bytes());
        assert_eq!(tokens(&meter), Some((3, 4, 7)), "{body:?}");
    }
    for body in [
        format!("dat: {report}\n\n"),
        format!("date: {report}\n\n"),
        format!("datas: {report}\n\n"),
        format!(":data: {report}\n\n"),
        format!(" data: {report}\n\n"),
        format!("event: data: {report}\n\n"),
        format!("data: x\u{feff}\n\n\u{feff}data: {report}\n\n"),
    ] {
        let meter = read(SSE, body.as_bytes());
        assert_eq!(tokens(&meter), None, "{body:?}");
    }
    // Only a part of a second byte order mark.
    for begun in [&b"\xef\xbb\xbf\xef"[..], b"\xef\xbb\xbf\xef\xbb"] {
        let body = [begun, b"data: ", report.as_bytes(), b"\n\n"].concat();
        assert_eq!(tokens(&read(SSE, &body)), None, "{begun:?}");
        let next = [&body, b"data: ".as_slice(), report.as_bytes(), b"\n\n"].concat();
        assert_eq!(tokens(&read(SSE, &next)), Some((3, 4, 7)), "{begun:?}");
    }
}

#[test]
fn event_that_is_cut_off_does_not_hide_the_next() {
    let report = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
    for begun in [
        r#"{"choices":[{"delta":{"content":"hi"#,
        r#"{"choices":[{"delta":{"content":"hi\"#,
        r#"{"choices":[{"delta":{"other":[[{"#,
        r#"{"choices":[{"delta":{}}],"usage":{"prompt_tokens":"#,
        r#"{"choices":[{"delta":{}}],"usage":"#,
        r#"{"other":{"a":1"#,
        "[",
        "[[[",
        "\"",
    ] {
        let body = format!("data: {begun}\n\ndata: {report}\n\n");
        let meter = read(SSE, body.as_bytes());
        assert_eq!(tokens(&meter), Some((3, 4, 7)), "{begun}");
        let raw = br#"{"prompt_tokens":3,"completion_tokens":4}"#;
        assert_eq!(meter.raw_usage(), Some(raw.as_slice()), "{begun}");
    }
}

#[test]
fn usage_in_every_chunk_counts_once() {
    let body = (1..=30)
        .map(|n| format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"x\"}}}}],\"usage\":{{\"prompt_tokens\":3,\"completion_tokens\":{n}}}}}\n\n"))
        .collect::<Vec<_>>()
        .concat();
    let meter = read(SSE, body.as_bytes());
    assert_eq!(tokens(&meter), Some((3, 30, 33)));
    let raw = br#"{"prompt_tokens":3,"completion_tokens":30}"#;
    assert_eq!(meter.raw_usage(), Some(raw.as_slice()));
    assert_eq!(meter.output_bytes(), 30);
}

#[test]
fn done_event_makes_stream_likely_final() {
    let mut meter = Meter::new(&head(SSE));
    meter.push(b"data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\ndata: [DON");
    assert!(!meter.is_likely_final());
    meter.push(b"E]\n\n");
    assert!(meter.is_likely_final() && meter.is_completion());
    assert_eq!(meter.usage(), None);
    for body in [
        "data: [DONE]x\n\n",
        "data: [DONE\n\n",
        "data: [DO\ndata: NE]\n\n",
    ] {
        let mut meter = Meter::new(&head(SSE));
        meter.push(body.as_bytes());
        assert!(!meter.is_likely_final(), "{body:?}");
    }
}

#[test]
fn error_in_stream_keeps_reported_usage() {
    let mut meter = Meter::new(&head(SSE));
    meter.push(b"data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\n\n");
    assert!(!meter.is_likely_final());
    meter.push(b"data: {\"error\":{\"message\":\"overloaded\"}}\n\n");
    assert!(meter.is_likely_final() && meter.is_completion());
    assert_eq!(tokens(&meter), Some((9, 1, 10)));
}

#[test]
fn other_documents_report_no_usage() {
    for body in [
        r#"{"object":"list","data":[{"id":"gpt-4o","object":"model"}]}"#,
        r#"{"error":{"message":"no","type":"invalid_request_error"}}"#,
        r#"{"input_tokens":13}"#,
        r#"{"type":"error","code":"server_error","message":"the server had an error"}"#,
        r#"{"object":"batch","usage":{"input_tokens":4,"output_tokens":5}}"#,
        r#"{"object":"thread.message","id":"msg_1","content":[{"text":"hello"}]}"#,
        r#"{"object":"conversation","id":"conv_1"}"#,
        "{}",
        "<html></html>",
        "[]",
        "null",
    ] {
        let meter = read(JSON, body.as_bytes());
        assert_eq!(meter.usage(), None, "{body}");
        assert!(!meter.is_completion(), "{body}");
    }
    let mut rejected = Meter::new(&ResponseHead {
        status: 429,
        ..head(JSON)
    });
    rejected.push(br#"{"choices":[],"usage":{"prompt_tokens":3}}"#);
    rejected.finish();
    assert_eq!((rejected.usage(), rejected.is_completion()), (None, false));
}

#[test]
fn cut_off_body_is_a_completion() {
    for body in [&br#"{"id":"chatcmpl-1","obj"#[..], br#"{"i"#, b"["] {
        let mut meter = Meter::new(&head(JSON));
        meter.push(body);
        assert!(meter.is_completion(), "before its end");
        meter.finish();
        assert!(meter.is_completion() && !meter.is_likely_final());
    }
    let mut meter = Meter::new(&ResponseHead {
        path: RequestPath::of(b"/v1/other"),
        ..head(JSON)
    });
    meter.push(br#"{"id":"chatcmpl-1","obj"#);
    assert!(!meter.is_completion());
    meter.push(br#"ect":"chat.completion","choices":[{"message":{"content":"abc"#);
    assert!(meter.is_completion());
    assert_eq!(meter.output_bytes(), 3);
    meter.push(br#""}}],"usage":{"prompt_tokens":11,"completion_tok"#);
    meter.finish();
    meter.finish();
    assert_eq!(tokens(&meter), Some((11, 0, 11)));
    assert!(!meter.is_likely_final());
}

#[test]
fn body_cut_off_before_first_byte_is_completion() {
    let cut_off = |head: &ResponseHead<'_>, bytes: &[u8]| {
        let mut meter = Meter::new(head);
        meter.push(bytes);
        meter.cut_off();
        meter.is_completion()
    };
    let gzip = ResponseHead {
        content_encoding: Some(b"gzip"),
        ..head(SSE)
    };
    for bytes in [&b""[..], b"\r\n  "] {
        assert!(cut_off(&head(SSE), bytes) && cut_off(&head(JSON), bytes));
        assert!(!read(JSON, bytes).is_completion(), "its regular end");
    }
    assert!(cut_off(&gzip, b"") && cut_off(&gzip, &[0x1f, 0x8b, 8, 0]));
    assert!(!cut_off(&head(JSON), b"<html>"), "a page");
    let other = ResponseHead {
        path: RequestPath::of(b"/v1/models"),
        ..head(JSON)
    };
    let failed = ResponseHead {
        status: 503,
        ..head(JSON)
    };
    assert!(!cut_off(&other, b"") && !cut_off(&failed, b""));
}

#[test]
fn wrong_content_type_is_ignored() {
    let json = br#" {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    for content_type in [SSE, "text/plain", ""] {
        assert_eq!(tokens(&read(content_type, json)), Some((1, 2, 3)));
    }
    let mut events = b"data: ".to_vec();
    events.extend_from_slice(json);
    assert_eq!(tokens(&read(JSON, &events)), Some((1, 2, 3)));
}

/// Encodes a body. Returns it with its head.
fn encode(coding: &'static str, body: &[u8]) -> (ResponseHead<'static>, Vec<u8>) {
    let encoded = match coding {
        "deflate" => miniz_oxide::deflate::compress_to_vec_zlib(body, 6),
        _ => zstd::encode_all(body, 3).unwrap(),
    };
    let head = ResponseHead {
        content_encoding: Some(coding.as_bytes()),
        ..head(JSON)
    };
    (head, encoded)
}

#[test]
fn encoded_body_is_read_in_single_bytes() {
    let body =
        br#"{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    for coding in ["deflate", "zstd"] {
        let (head, encoded) = encode(coding, body);
        let mut meter = Meter::new(&head);
        for byte in &encoded {
            meter.push(&[*byte]);
        }
        assert!(meter.is_likely_final(), "{coding}");
        meter.finish();
        assert_eq!(tokens(&meter), Some((1, 2, 3)), "{coding}");
        assert_eq!(meter.output_bytes(), 2);
        assert_eq!(meter.decoding_error(), None);
    }
}

#[test]
fn corrupt_coding_leaves_output_bytes() {
    let body = format!(
        r#"{{"choices":[{{"message":{{"content":"{}"}}}}],"usage":{{"prompt_tokens":1}}}}"#,
        (0..2_000_u32).map(|n| n.to_string()).collect::<String>()
    );
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.write_all(&body.as_bytes()[..4_000]).unwrap();
    encoder.flush().unwrap();
    let head = ResponseHead {
        content_encoding: Some(b"zstd"),
        ..head(JSON)
    };
    let mut meter = Meter::new(&head);
    meter.push(encoder.get_ref());
    let before = meter.output_bytes();
    meter.push(&[0xff; 100]);
    meter.finish();
    assert!(meter.decoding_error().is_some());
    assert!(meter.is_completion());
    assert_eq!(meter.usage(), None);
    assert!(before > 0 && meter.output_bytes() > before);

    assert!(!meter.is_unread(), "the bytes are not valid");
    // A frame with a window of 16 MiB may be valid.
    let mut large = Meter::new(&head);
    large.push(b"\x28\xb5\x2f\xfd\x00\x70");
    large.finish();
    assert!(large.is_unread() && large.is_completion());

    let mut unknown = Meter::new(&ResponseHead {
        content_encoding: Some(b"compress"),
        ..head
    });
    unknown.push(b"any\x9dthing");
    unknown.finish();
    assert!(unknown.is_completion() && unknown.decoding_error().is_some());
    assert_eq!(unknown.output_bytes(), 9);
}
