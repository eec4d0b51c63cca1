//! Completions of unknown shape, which only their path shows to be completions.

use super::{JSON, SSE, head, read, read_bytes, tokens};
use crate::{HeaderCounts, Meter, RequestPath, ResponseHead};

const TEXT: &str = "text/plain";

#[test]
fn unknown_shapes_on_completion_paths_are_completions() {
    let transcript = "dear all, this is a transcript";
    for (content_type, body, output_bytes) in [
        (JSON, r#"{"id":"x","answer_text":"eight ch","n":5}"#, 9),
        (JSON, r#"{"parts":["one","two\n"],"key":{"a":"b"}}"#, 7),
        (JSON, r#"{"object":"custom.kind","text":"four"}"#, 15),
        (JSON, "{\"a\":\"one\"}\n{\"a\":\"two\"}", 6),
        (JSON, r#"{"text_output":"abc","model_name":"m"}"#, 3),
        (JSON, "[[0.5,0.25],[1,2]]", 0),
        (JSON, "\"one string\"", 12),
        (TEXT, transcript, 30),
        (TEXT, "The river is long.", 18),
        (TEXT, "\r\n1\n00:00 --> 00:01\nHi", 20),
        (TEXT, "[Music] Hello", 13),
        ("", "plain", 5),
        ("text/vtt; charset=utf-8", "WEBVTT\n\nHi", 10),
        ("application/x-subrip", "1\nHi", 4),
        (
            SSE,
            "event: output\ndata: The\n\nevent: output\ndata:  river\n\nevent: done\ndata: [DONE]\n\n",
            9,
        ),
    ] {
        let meter = read(content_type, body.as_bytes());
        assert_eq!(meter.usage(), None, "{body}");
        assert!(meter.is_completion(), "{content_type} {body}");
        assert_eq!(meter.output_bytes(), output_bytes, "{content_type} {body}");
        let in_bytes = read_bytes(&head(content_type), body.as_bytes());
        assert!(in_bytes.is_completion(), "{body}");
        assert_eq!(in_bytes.output_bytes(), output_bytes, "{body}");
        let other = ResponseHead {
            path: RequestPath::of(b"/v1/other"),
            ..head(content_type)
        };
        let is_known = body.contains("text_output");
        assert_eq!(
            read_bytes(&other, body.as_bytes()).is_completion(),
            is_known,
            "{body}"
        );
    }
}

#[test]
fn gzip_without_label_is_estimated() {
    let meter = read(JSON, b"\x1f\x8b\x08\x00bytes that are not read");
    assert!(meter.is_completion());
    assert_eq!(meter.output_bytes(), 27);
}

#[test]
fn unsuccessful_responses_are_no_completions() {
    for status in [101, 304, 400, 429, 500, 503] {
        for content_type in [JSON, TEXT, SSE, ""] {
            for body in [
                "upstream connect error",
                r#"{"answer":"text"}"#,
                "data: text\n\n",
            ] {
                let head = ResponseHead {
                    status,
                    ..head(content_type)
                };
                let mut meter = Meter::new(&head);
                meter.push(body.as_bytes());
                meter.cut_off();
                assert!(!meter.is_completion(), "{status} {content_type} {body}");
            }
        }
    }
}

#[test]
fn encoded_images_are_no_text() {
    let image = "iVBORw0KGgo".repeat(10_000);
    let text = "words and more words ".repeat(100);
    for (string, is_text) in [
        (&image, false),
        (&text, true),
        (&"\u{6cb3}\u{6d41}\u{3002}".repeat(500), true),
    ] {
        let body = format!(r#"{{"result":{{"own":"{string}"}},"list":["ab"]}}"#);
        let expected = if is_text { string.len() as u64 + 2 } else { 2 };
        for size in [1, 100, body.len()] {
            let mut meter = Meter::new(&head(JSON));
            for piece in body.as_bytes().chunks(size) {
                meter.push(piece);
            }
            meter.finish();
            assert!(meter.is_completion());
            assert_eq!(meter.output_bytes(), expected);
        }
    }
}

#[test]
fn bodies_without_text_are_no_completions() {
    for (content_type, body) in [
        (JSON, ""),
        (JSON, " \r\n"),
        (JSON, "{}"),
        (JSON, "[]"),
        (JSON, "null"),
        (JSON, "[[]]"),
        (TEXT, "\n"),
        (JSON, r#"{"input_tokens":13}"#),
        (JSON, r#"{"error":"no such model"}"#),
        (
            JSON,
            r#"{"errors":[{"code":7,"message":"no"}],"result":null}"#,
        ),
        (JSON, r#"{"error_code":17,"error_msg":"daily limit"}"#),
        (JSON, r#"{"success":false,"message":"no such model"}"#),
        (
            JSON,
            r#"{"base_resp":{"status_code":1004,"status_msg":"no key"}}"#,
        ),
        (JSON, r#"{"header":{"code":10013,"message":"not allowed"}}"#),
        (JSON, r#"{"object":"vector_store.deleted","id":"vs_1"}"#),
        (
            JSON,
            r#"{"object":"upload","filename":"training_examples.jsonl"}"#,
        ),
        (
            JSON,
            r#"{"object":"response.input_tokens","input_tokens":11}"#,
        ),
        (
            JSON,
            r#"{"custom_id":"a","response":{"body":{"choices":[{}]}}}"#,
        ),
        ("text/html", "<html><p>Sign in</p></html>"),
        ("", "<!doctype html><p>Sign in</p>"),
        ("audio/mpeg", "ID3\u{4}some sound"),
        ("application/octet-stream", "some bytes"),
    ] {
        let meter = read(content_type, body.as_bytes());
        assert!(!meter.is_completion(), "{content_type} {body}");
    }
    // Events of unknown kind in a known stream add nothing.
    let meter = read(
        SSE,
        b"data: {\"type\":\"ping\"}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"abc\"}}]}\n\n",
    );
    assert_eq!(meter.output_bytes(), 3);
}

#[test]
fn wrong_content_encoding_is_ignored() {
    let json = r#"{"choices":[{}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
    for coding in [
        "none",
        "utf-8",
        "x-none",
        "gzip",
        "br",
        "deflate",
        "zstd",
        "Identity",
        "",
        "aws-chunked",
    ] {
        for body in [
            json.to_owned(),
            format!("data: {json}\n\n"),
            format!("\u{feff}{json}"),
        ] {
            let head = ResponseHead {
                content_encoding: Some(coding.as_bytes()),
                ..head(JSON)
            };
            let meter = read_bytes(&head, body.as_bytes());
            assert_eq!(tokens(&meter), Some((3, 1, 4)), "{coding} {body}");
            assert_eq!(meter.decoding_error(), None, "{coding} {body}");
        }
    }
    let short = ResponseHead {
        content_encoding: Some(b"gzip"),
        ..head(TEXT)
    };
    let meter = read_bytes(&short, b"Hi.");
    assert!(meter.is_completion());
    assert_eq!(meter.output_bytes(), 3);
}

#[test]
fn encoded_body_that_ends_before_its_text_is_no_empty_body() {
    let head = |coding: &'static str| ResponseHead {
        content_encoding: Some(coding.as_bytes()),
        ..head(SSE)
    };
    let long_name = [b"\x1f\x8b\x08\x08".as_slice(), &[b'n'; 400]].concat();
    for (coding, body) in [
        ("gzip", long_name.as_slice()),
        ("zstd", b"\x28\xb5\x2f\xfd"),
    ] {
        let meter = read_bytes(&head(coding), body);
        assert!(meter.is_completion(), "{coding}");
        assert_eq!(meter.output_bytes(), body.len() as u64);
        assert!(meter.decoding_error().is_some());
    }
    let nothing = zstd::encode_all(b"".as_slice(), 3).unwrap();
    let meter = read_bytes(&head("zstd"), &nothing);
    assert!(!meter.is_completion() && meter.decoding_error().is_none());
}

#[test]
fn paths_of_completions_are_known() {
    for (path, expected) in [
        ("/v1/audio/transcriptions", true),
        ("/v1/complete", true),
        ("/v1/chat-messages", true),
        ("/20231130/actions/chat", true),
        ("/v1/uploads/upload_1/complete", false),
        (
            "/client/v4/accounts/a/ai/run/@cf/meta/llama-3.1-8b-instruct",
            true,
        ),
        ("/v1/inference/meta-llama/Llama-3-8B", true),
        ("/v2/models/ensemble/generate", true),
        ("/completion", true),
        ("/ml/v1/text/generation?version=2024", true),
        ("/v1/models/meta/llama/predictions", true),
        ("/v1/models", false),
        ("/v1/audio/speech", false),
        ("/v1/files/generated", false),
    ] {
        let mut meter = Meter::new(&ResponseHead {
            path: RequestPath::of(path.as_bytes()),
            ..head(JSON)
        });
        meter.push(br#"{"anything":"at all"}"#);
        meter.finish();
        assert_eq!(meter.is_completion(), expected, "{path}");
    }
}

#[test]
fn body_of_one_value_is_not_likely_final_before_its_end() {
    let mut meter = Meter::new(&ResponseHead {
        header_counts: HeaderCounts::read(|name| match name {
            "x-amzn-bedrock-input-token-count" => Some(&b"10"[..]),
            "x-amzn-bedrock-output-token-count" => Some(b"12"),
            _ => None,
        }),
        ..head(JSON)
    });
    for body in [&b""[..], b" ", b"\"one\"", b" "] {
        meter.push(body);
        assert_eq!(tokens(&meter), Some((10, 12, 22)));
        assert!(!meter.is_likely_final());
    }
}
