//! Reports that are previews, only a part of the usage, or not plausible.

use super::{JSON, SSE, head, read, tokens};
use crate::{HeaderCounts, Meter, ResponseHead};

const NDJSON: &str = "application/x-ndjson";

/// Returns a stream of these events.
pub(super) fn events(data: &[&str]) -> String {
    let events: Vec<String> = data
        .iter()
        .map(|data| format!("data: {data}\n\n"))
        .collect();
    events.concat()
}

fn text(text: &str) -> String {
    format!(
        r#"{{"object":"chat.completion.chunk","choices":[{{"delta":{{"content":"{text}"}}}}]}}"#
    )
}

fn report(input: u64, output: u64) -> String {
    let total = input + output;
    format!(
        r#"{{"choices":[],"usage":{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{total}}}}}"#
    )
}

#[test]
fn report_after_end_marker_counts() {
    let error = r#"{"error":{"message":"overloaded"}}"#;
    for data in [
        [&*text("a"), &report(1, 2), &report(3, 4)],
        [&*text("a"), "[DONE]", &report(3, 4)],
        [&*text("a"), error, &report(3, 4)],
        [&*report(1, 2), &text("a"), &report(3, 4)],
    ] {
        let meter = read(SSE, events(&data).as_bytes());
        assert_eq!(tokens(&meter), Some((3, 4, 7)), "{data:?}");
        assert!(!meter.is_partial(), "{data:?}");
    }
    let documents = format!("{}\n{}\n{}\n", report(1, 2), text("a"), report(3, 4));
    for content_type in [NDJSON, JSON] {
        assert_eq!(
            tokens(&read(content_type, documents.as_bytes())),
            Some((3, 4, 7))
        );
    }
}

#[test]
fn preview_is_not_likely_final() {
    let mut meter = Meter::new(&head(SSE));
    for (data, is_likely_final) in [
        (report(3, 1), false),
        (text("a"), false),
        (report(3, 2), true),
        // More of the text follows.
        (text("b"), false),
        ("[DONE]".to_owned(), true),
        (report(3, 3), true),
    ] {
        meter.push(events(&[&data]).as_bytes());
        assert_eq!(meter.is_likely_final(), is_likely_final, "{data}");
    }
    assert_eq!(tokens(&meter), Some((3, 3, 6)));
}

#[test]
fn json_without_whole_report_is_not_likely_final() {
    for (body, is_likely_final) in [
        (
            r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#,
            true,
        ),
        (r#"{"choices":[]}"#, false),
        (
            r#"{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":3}}"#,
            false,
        ),
    ] {
        let mut meter = Meter::new(&head(JSON));
        meter.push(body.as_bytes());
        assert_eq!(meter.is_likely_final(), is_likely_final, "{body}");
    }
}

#[test]
fn empty_error_is_no_error() {
    for (error, is_error) in [
        (r#""""#, false),
        ("{}", false),
        ("null", false),
        ("false", false),
        ("[]", false),
        (r#""overloaded""#, true),
        (r#"{"code":500}"#, true),
        ("true", true),
        ("500", true),
    ] {
        let body = format!(r#"{{"object":"chat.completion","error":{error}}}"#);
        let meter = read(JSON, body.as_bytes());
        assert_eq!(meter.is_completion(), !is_error, "{error}");
    }
    let members = r#""error":{"message":"","type":"","code":null}"#;
    for (choices, is_completion) in [
        (r#"[{"message":{"content":"hi"}}]"#, true),
        (r#"[{"message":{"content":""}}]"#, false),
        ("[]", false),
    ] {
        let body = format!(r#"{{"choices":{choices},{members}}}"#);
        let meter = read(JSON, body.as_bytes());
        assert_eq!(meter.is_completion(), is_completion, "{body}");
    }
    let meter = read(JSON, br#"{"object":"chat.completion","error":{"#);
    assert!(!meter.is_completion(), "an error that is cut off");
}

/// Bodies, their input and output, and whether these are only a part of the usage.
const PARTIAL: &[(&str, &str, (u64, u64), bool)] = &[
    // Zero beside text, and where there is none.
    (
        JSON,
        r#"{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}"#,
        (0, 0),
        true,
    ),
    (
        JSON,
        r#"{"choices":[{"message":{"content":""}}],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}"#,
        (0, 0),
        false,
    ),
    (
        JSON,
        r#"{"choices":[{"message":{"tool_calls":[{"function":{"arguments":"{}"}}]}}],"usage":{"prompt_tokens":9,"completion_tokens":0}}"#,
        (9, 0),
        true,
    ),
    (
        JSON,
        r#"{"type":"message","content":[{"type":"text","text":"hi"}],"usage":{"input_tokens":9,"output_tokens":0}}"#,
        (9, 0),
        true,
    ),
    (
        JSON,
        r#"{"candidates":[{"content":{"parts":[{"text":"hi"}]}}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":0,"totalTokenCount":9}}"#,
        (9, 0),
        true,
    ),
    (
        JSON,
        r#"{"output":{"message":{"content":[{"text":"hi"}]}},"usage":{"inputTokens":9,"outputTokens":0,"totalTokens":9}}"#,
        (9, 0),
        true,
    ),
    (
        JSON,
        r#"{"generation":"hi","prompt_token_count":9,"generation_token_count":0}"#,
        (9, 0),
        true,
    ),
    (
        JSON,
        r#"{"object":"list","data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":2,"total_tokens":2}}"#,
        (2, 0),
        false,
    ),
    (
        JSON,
        r#"{"candidates":[{"content":{"parts":[{"text":"hi"}]}}],"usageMetadata":{"promptTokenCount":9,"thoughtsTokenCount":5,"totalTokenCount":14}}"#,
        (9, 5),
        true,
    ),
    (
        JSON,
        r#"{"candidates":[{"content":{}}],"usageMetadata":{"promptTokenCount":9,"thoughtsTokenCount":5,"totalTokenCount":14}}"#,
        (9, 5),
        false,
    ),
    (
        JSON,
        r#"{"event":"message","answer":"hi","metadata":{"usage":{"prompt_tokens":9,"completion_tokens":0}}}"#,
        (9, 0),
        true,
    ),
    (
        JSON,
        r#"{"Response":{"Choices":[{"Message":{"Content":"hi"}}],"Usage":{"PromptTokens":9,"CompletionTokens":0}}}"#,
        (9, 0),
        true,
    ),
    (
        JSON,
        r#"{"object":"chat.completion","result":"hi","usage":{"prompt_tokens":9,"completion_tokens":0}}"#,
        (9, 0),
        true,
    ),
    // Input alone, output alone, the total alone.
    (
        JSON,
        r#"{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":9}}"#,
        (9, 0),
        true,
    ),
    (
        JSON,
        r#"{"choices":[{"message":{"content":"hi"}}],"usage":{"completion_tokens":9}}"#,
        (0, 9),
        true,
    ),
    (
        JSON,
        r#"{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":0,"completion_tokens":9}}"#,
        (0, 9),
        true,
    ),
    (
        JSON,
        r#"{"choices":[{"message":{"content":"hi"}}],"usage":{"total_tokens":9}}"#,
        (0, 0),
        true,
    ),
    (
        JSON,
        r#"{"choices":[{"message":{"content":"hi"}}],"usage":{"completion_tokens":5,"total_tokens":9}}"#,
        (4, 5),
        false,
    ),
    (
        JSON,
        r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":9,"totalTokenCount":9}}"#,
        (9, 0),
        false,
    ),
    (
        NDJSON,
        "{\"message\":{\"content\":\"hi\"},\"done\":false}\n{\"message\":{\"content\":\"\"},\"done\":true,\"eval_count\":2}\n",
        (0, 2),
        true,
    ),
    // A stream that starts with a placeholder.
    (
        SSE,
        "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\ndata: {\"type\":\"message_stop\"}\n\n",
        (25, 1),
        true,
    ),
    (
        SSE,
        "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\ndata: {\"type\":\"message_delta\",\"usage\":null}\n\n",
        (25, 1),
        true,
    ),
    (
        SSE,
        "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n",
        (25, 1),
        true,
    ),
    (
        SSE,
        "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":1}}\n\n",
        (25, 1),
        false,
    ),
    (
        SSE,
        "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":9}}}\n\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":0}}\n\n",
        (25, 0),
        false,
    ),
    (
        SSE,
        "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":0,\"output_tokens\":0}}}\n\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"hi\"}}\n\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":4}}\n\n",
        (0, 4),
        true,
    ),
    // Prompts alone, and an error.
    (
        SSE,
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hi\"}]}}],\"usageMetadata\":{\"promptTokenCount\":30,\"totalTokenCount\":30}}\n\ndata: {\"error\":{\"code\":503}}\n\n",
        (30, 0),
        true,
    ),
    // Cumulative reports count as they are.
    (
        SSE,
        "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\n\ndata: {\"error\":{\"code\":503}}\n\n",
        (9, 1),
        false,
    ),
    // A report that is cut off.
    (
        SSE,
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5,",
        (9, 5),
        true,
    ),
    (
        JSON,
        r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,"#,
        (9, 5),
        true,
    ),
];

#[test]
fn partial_reports_are_recognized() {
    for &(content_type, body, (input, output), is_partial) in PARTIAL {
        let total = (input + output).max(if body.contains("\"total_tokens\":9") {
            9
        } else {
            0
        });
        let whole = read(content_type, body.as_bytes());
        let mut in_pieces = Meter::new(&head(content_type));
        for byte in body.bytes() {
            in_pieces.push(&[byte]);
        }
        in_pieces.finish();
        for meter in [whole, in_pieces] {
            assert_eq!(tokens(&meter), Some((input, output, total)), "{body}");
            assert_eq!(meter.is_partial(), is_partial, "{body}");
        }
    }
}

#[test]
fn skipped_events_do_not_hide_text() {
    let many: Vec<String> = (0..400).map(|n| text(&format!("word{n} "))).collect();
    let mut data: Vec<&str> = many.iter().map(String::as_str).collect();
    let zeros = report(0, 0);
    data.push(&zeros);
    let body = events(&data);
    for pieces in [body.len(), 16_384, 100, 1] {
        let mut meter = Meter::new(&head(SSE));
        for piece in body.as_bytes().chunks(pieces) {
            meter.push(piece);
        }
        assert!(meter.is_partial(), "{pieces}");
    }
}

#[test]
fn whole_report_of_another_source_replaces_a_part() {
    let mut meter = Meter::new(&ResponseHead {
        header_counts: HeaderCounts::read(|name| match name {
            "x-amzn-bedrock-input-token-count" => Some(&b"10"[..]),
            "x-amzn-bedrock-output-token-count" => Some(b"12"),
            _ => None,
        }),
        ..head(JSON)
    });
    meter.push(br#"{"type":"message","content":[{"text":"hi"}],"usage":{"input_tokens":0,"output_tokens":0}}"#);
    meter.finish();
    assert_eq!(tokens(&meter), Some((10, 12, 22)));
    assert!(!meter.is_partial());
}

#[test]
fn other_values_at_report_paths_erase_nothing() {
    let usage = r#""usage":{"prompt_tokens":3,"completion_tokens":4}"#;
    for other in [
        "null",
        "\"v1\"",
        "{}",
        "[]",
        "7",
        r#"{"region":"eu"}"#,
        r#"{"prompt_tokens":0}"#,
    ] {
        for path in ["meta", "usageMetadata", "usage"] {
            for body in [
                format!(r#"{{"choices":[{{}}],{usage},"{path}":{other}}}"#),
                format!(r#"{{"choices":[{{}}],"{path}":{other},{usage}}}"#),
            ] {
                let meter = read(JSON, body.as_bytes());
                assert_eq!(tokens(&meter), Some((3, 4, 7)), "{body}");
            }
        }
    }
}

#[test]
fn zero_aliases_erase_nothing() {
    let meter = read(
        JSON,
        br#"{"choices":[{}],"usage":{"prompt_tokens":120,"completion_tokens":44,"input_tokens":0,"output_tokens":0,"total_tokens":164,
            "prompt_tokens_details":{"cached_tokens":64},"cached_tokens":null,"completion_tokens_details":{"reasoning_tokens":12},"reasoning_tokens":0}}"#,
    );
    assert_eq!(tokens(&meter), Some((120, 44, 164)));
    let usage = meter.usage().unwrap();
    assert_eq!((usage.cached_tokens, usage.reasoning_tokens), (64, 12));
}

#[test]
fn work_beside_the_top_level_is_added() {
    for (body, expected) in [
        // The order of keys and steps does not matter.
        (
            r#"{"type":"message","usage":{"iterations":[{"type":"compaction","input_tokens":180,"output_tokens":35},{"type":"message","input_tokens":23,"output_tokens":10}],"input_tokens":23,"output_tokens":10}}"#,
            (203, 45, 248),
        ),
        (
            r#"{"type":"message","usage":{"input_tokens":2,"output_tokens":49,"iterations":[{"input_tokens":2,"output_tokens":49},{"type":"advisor_message","input_tokens":15,"output_tokens":7}]}}"#,
            (17, 56, 73),
        ),
        (
            r#"{"type":"message","usage":{"input_tokens":12,"output_tokens":3,"iterations":[{"input_tokens":10,"output_tokens":0},{"type":"fallback_message","input_tokens":12,"output_tokens":3}]}}"#,
            (12, 3, 15),
        ),
        (
            r#"{"type":"message","usage":{"input_tokens":12,"output_tokens":3,"iterations":null}}"#,
            (12, 3, 15),
        ),
        (
            r#"{"type":"message","usage":{"input_tokens":12,"output_tokens":3,"iterations":[]}}"#,
            (12, 3, 15),
        ),
        // Tools report before or after the usage.
        (
            r#"{"object":"response","tool_usage":{"image_gen":{"input_tokens":17,"output_tokens":175,"total_tokens":192}},"usage":{"input_tokens":30,"output_tokens":4,"total_tokens":34}}"#,
            (47, 179, 226),
        ),
        (
            r#"{"type":"response.completed","response":{"usage":{"input_tokens":30,"output_tokens":4,"total_tokens":34},"tool_usage":{"image_gen":{"input_tokens":17,"output_tokens":175},"web_search":{"num_requests":1}}}}"#,
            (47, 179, 226),
        ),
    ] {
        let meter = read(SSE, events(&[body]).as_bytes());
        assert_eq!(tokens(&meter), Some(expected), "{body}");
        assert!(!meter.is_partial(), "{body}");
    }
}

#[test]
fn implausible_report_is_unreadable() {
    for number in [
        "-1",
        "1099511627777",
        "18446744073709551615",
        "1e400",
        "99999999999999999999",
        "\"-7\"",
    ] {
        let usage = format!(r#"{{"prompt_tokens":5,"completion_tokens":{number}}}"#);
        let body = format!(r#"{{"choices":[{{"message":{{"content":"hi"}}}}],"usage":{usage}}}"#);
        let meter = read(JSON, body.as_bytes());
        assert!(meter.has_unreadable_counts(), "{number}");
        assert_eq!(meter.usage(), None, "{number}");
        assert_eq!(meter.raw_usage(), None, "{number}");
        assert!(meter.is_completion());
    }
    let bad = r#"{"choices":[],"usage":{"prompt_tokens":-1,"completion_tokens":5}}"#;
    let before = read(SSE, events(&[&text("a"), &report(3, 1), bad]).as_bytes());
    assert_eq!(tokens(&before), Some((3, 1, 4)));
    assert!(before.is_partial(), "what came before is out of date");
    let after = read(SSE, events(&[&text("a"), bad, &report(3, 4)]).as_bytes());
    assert_eq!(tokens(&after), Some((3, 4, 7)));
    assert!(!after.is_partial() && after.has_unreadable_counts());
}

#[test]
fn stream_is_likely_final_after_last_report() {
    for (last, is_likely_final) in [
        (report(3, 4), true),
        // The output is missing.
        (r#"{"choices":[],"usage":{"prompt_tokens":3}}"#.to_owned(), false),
        // Another source than the usage object of the API.
        (
            r#"{"choices":[],"stats":{"prompt_tokens":3,"completion_tokens":4}}"#.to_owned(),
            false,
        ),
        // More choices may follow.
        (
            r#"{"choices":[{}],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#.to_owned(),
            false,
        ),
        // The platform reports at the end.
        (
            r#"{"outputText":"","amazon-bedrock-invocationMetrics":{"inputTokenCount":3,"outputTokenCount":4}}"#.to_owned(),
            true,
        ),
        // Two signs of the end.
        (r#"{"event_type":"stream-end","is_finished":true}"#.to_owned(), true),
        (r#"{"event_type":"stream-end","is_finished":false}"#.to_owned(), true),
        (r#"{"is_finished":true,"event_type":"stream-end"}"#.to_owned(), true),
    ] {
        let mut meter = Meter::new(&head(SSE));
        meter.push(events(&[&text("a"), &last]).as_bytes());
        assert_eq!(meter.is_likely_final(), is_likely_final, "{last}");
    }
}
