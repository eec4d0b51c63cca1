//! The result is the same for every split of a body, and whether or not events are skipped.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{JSON, SSE, head, tokens};
use crate::json::Scanner;
use crate::response::framings::sse::Events;
use crate::response::report::Report;
use crate::{Meter, ResponseHead, Usage, UsagePaths};

/// The results of a meter, except those that are extrapolated.
type Outcome = (Option<Usage>, Option<String>, bool, bool, Option<Vec<u8>>);

fn outcome(meter: &Meter) -> Outcome {
    (
        meter.usage(),
        meter.model().map(str::to_owned),
        meter.is_likely_final(),
        meter.is_completion(),
        meter.raw_usage().map(<[u8]>::to_vec),
    )
}

fn read_in_pieces(content_type: &str, body: &[u8], cuts: &[usize]) -> Outcome {
    let mut meter = Meter::new(&head(content_type));
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
    cuts.push(body.len());
    cuts.sort_unstable();
    let mut from = 0;
    for cut in cuts {
        meter.push(&body[from..cut]);
        from = cut;
    }
    meter.finish();
    outcome(&meter)
}

/// Returns the usage of an event stream of which every event was scanned.
fn scan_all(body: &[u8]) -> (Option<Usage>, Option<Vec<u8>>) {
    let mut report = Report::default();
    let mut events = Events::new(Scanner::new(UsagePaths::default().tree()), true);
    events.scan(body, &mut report);
    events.finish(&mut report);
    (report.usage(), report.raw().map(<[u8]>::to_vec))
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z \"\\\\\n\u{e9}\u{1f600}]{0,12}",
        Just("usage".to_owned()),
        Just("{\"usage\":{\"prompt_tokens\":99,\"completion_tokens\":99}}".to_owned()),
        Just("data: [DONE]\n\n".to_owned()),
    ]
}

fn usage() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        (0_u32..500, 0_u32..500).prop_map(|(input, output)| {
            json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output,
                   "prompt_tokens_details": {"cached_tokens": input / 2}})
        }),
    ]
}

fn chunk() -> impl Strategy<Value = Value> {
    (text(), proptest::option::weighted(0.2, usage()), any::<bool>()).prop_map(
        |(text, usage, choices)| {
            let mut chunk = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m",
                "choices": if choices { json!([{"index": 0, "delta": {"content": text.as_str()}}]) } else { json!([]) }});
            if let Some(usage) = usage {
                // Groq reports it in either of two places.
                if text.len() % 2 == 0 {
                    chunk["usage"] = Value::Null;
                    chunk["x_groq"] = json!({"usage": usage});
                } else {
                    chunk["usage"] = usage;
                }
            }
            chunk
        },
    )
}

prop_compose! {
    /// Returns an event stream in one of the framings that servers use.
    fn stream()(
        chunks in proptest::collection::vec(chunk(), 0..80),
        line in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        pretty in any::<bool>(),
        comments in any::<bool>(),
        done in any::<bool>(),
        blank_at_end in any::<bool>(),
    ) -> Vec<u8> {
        let mut body = String::new();
        for chunk in chunks {
            let text = if pretty {
                serde_json::to_string_pretty(&chunk).unwrap()
            } else {
                chunk.to_string()
            };
            if comments {
                body.extend([": usage", line, line]);
            }
            for text in text.lines() {
                body.extend(["data: ", text, line]);
            }
            body += line;
        }
        if done {
            body.extend(["data: [DONE]", line, line]);
        }
        if !blank_at_end {
            body.truncate(body.trim_end().len());
        }
        body.into_bytes()
    }
}

proptest! {
    #[test]
    fn event_streams_read_the_same_in_pieces(
        body in stream(),
        cuts in proptest::collection::vec(any::<usize>(), 0..24),
    ) {
        let whole = read_in_pieces(SSE, &body, &[]);
        let every_byte: Vec<usize> = (0..body.len()).collect();
        prop_assert_eq!(&read_in_pieces(SSE, &body, &cuts), &whole);
        prop_assert_eq!(&read_in_pieces(SSE, &body, &every_byte), &whole);
        prop_assert_eq!((whole.0, whole.4), scan_all(&body));
    }

    #[test]
    fn json_reads_the_same_in_pieces(
        chunk in chunk(),
        pretty: bool,
        cuts in proptest::collection::vec(any::<usize>(), 0..24),
        length in 0.0_f64..1.2,
    ) {
        let mut body = if pretty {
            serde_json::to_vec_pretty(&chunk).unwrap()
        } else {
            serde_json::to_vec(&chunk).unwrap()
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a short length times a small factor"
        )]
        body.truncate((body.len() as f64 * length) as usize);
        let whole = read_in_pieces(JSON, &body, &[]);
        let every_byte: Vec<usize> = (0..body.len()).collect();
        prop_assert_eq!(&read_in_pieces(JSON, &body, &cuts), &whole);
        prop_assert_eq!(&read_in_pieces(JSON, &body, &every_byte), &whole);
    }

    #[test]
    fn any_bytes_read_the_same_in_pieces(
        body in "(\\PC|[{}\\[\\]\":,\\\\\n\r\u{0}]|usage|data:|\"usage\":\\{\"prompt_tokens\":1\\}|\n\n){0,60}",
        cuts in proptest::collection::vec(any::<usize>(), 0..24),
    ) {
        let body = body.as_bytes();
        let whole = read_in_pieces(SSE, body, &[]);
        prop_assert_eq!(&read_in_pieces(SSE, body, &cuts), &whole);
    }
}

#[test]
fn corrupt_coding_has_one_result_in_every_delivery() {
    let report = r#"data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
    for (text, usage) in [
        (format!("{report}\n\n"), Some((3, 4, 7))),
        (format!("{{\"id\":\"{}", "many words ".repeat(20)), None),
        ("<".repeat(300), None),
    ] {
        // A stored block, and one of a type that does not exist.
        let length = u16::try_from(text.len()).unwrap();
        let mut body = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\0".to_vec();
        body.extend(length.to_le_bytes());
        body.extend((!length).to_le_bytes());
        body.extend(text.as_bytes());
        body.extend([7; 20]);
        let head = ResponseHead {
            content_encoding: Some(b"gzip"),
            ..head(JSON)
        };
        let read = |size: usize| {
            let mut meter = Meter::new(&head);
            for piece in body.chunks(size) {
                meter.push(piece);
            }
            meter.finish();
            assert!(meter.decoding_error().is_some(), "{text}");
            assert!(meter.is_completion(), "{text}");
            (tokens(&meter), meter.output_bytes())
        };
        let whole = read(body.len());
        assert_eq!(whole.0, usage, "{text}");
        assert!(whole.1 >= body.len() as u64, "{text}");
        for size in [1, 2, 7, 50] {
            assert_eq!(read(size), whole, "{text} {size}");
        }
    }
}
