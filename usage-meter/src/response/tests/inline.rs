//! Numbers outside a usage object, and text in events that are skipped.

use super::{JSON, SSE, head, read, tokens};
use crate::Meter;

const NDJSON: &str = "application/x-ndjson";

#[test]
fn numbers_outside_a_usage_object_are_a_report_of_their_own() {
    for (content_type, body, expected) in [
        (
            JSON,
            r#"{"done":true,"prompt_eval_count":7,"eval_count":3}"#,
            Some((7, 3, 10)),
        ),
        // A usage object comes first, and neither replaces numbers of the other.
        (
            JSON,
            r#"{"done":true,"usage":{"prompt_tokens":5,"completion_tokens":1},"prompt_eval_count":7,"eval_count":3}"#,
            Some((5, 1, 6)),
        ),
        (
            JSON,
            r#"{"done":true,"prompt_eval_count":7,"usage":{"prompt_tokens":5,"completion_tokens":1},"eval_count":3}"#,
            Some((5, 1, 6)),
        ),
        // Each document has the sum of all before it, or less if it does not know it.
        (
            NDJSON,
            "{\"done\":false,\"prompt_eval_count\":7,\"eval_count\":3}\n{\"done\":true,\"eval_count\":2}\n",
            Some((7, 3, 10)),
        ),
        (
            NDJSON,
            "{\"done\":false,\"prompt_eval_count\":7,\"eval_count\":3}\n{\"done\":true,\"eval_count\":0}\n",
            Some((7, 3, 10)),
        ),
        // The last chunk of a stream of Titan is followed by the report of Bedrock.
        (
            JSON,
            r#"{"outputText":"hi","inputTextTokenCount":7,"totalOutputTextTokenCount":3}"#,
            None,
        ),
    ] {
        assert_eq!(
            tokens(&read(content_type, body.as_bytes())),
            expected,
            "{body}"
        );
    }
}

#[test]
fn events_without_text_do_not_lower_the_estimate() {
    let event = |text: &str| {
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
    };
    let mut meter = Meter::new(&head(SSE));
    for _ in 0..500 {
        meter.push(event("").as_bytes());
    }
    for _ in 0..40 {
        meter.push(event("ten bytes.").as_bytes());
    }
    meter.push(event("ten bytes.").repeat(4_000).as_bytes());
    meter.finish();
    let bytes = meter.output_bytes();
    assert!((40_000..=40_800).contains(&bytes), "{bytes}");
}

#[test]
fn raw_usage_is_that_of_the_first_source() {
    let outer = r#"{"prompt_tokens":5,"completion_tokens":1}"#;
    let wrapped = r#"{"prompt_tokens":7,"completion_tokens":3}"#;
    for body in [
        format!(r#"{{"result":{{"usage":{wrapped}}},"usage":{outer}}}"#),
        format!(r#"{{"usage":{outer},"result":{{"usage":{wrapped}}}}}"#),
    ] {
        let meter = read(JSON, body.as_bytes());
        assert_eq!(tokens(&meter), Some((5, 1, 6)), "{body}");
        assert_eq!(meter.raw_usage(), Some(outer.as_bytes()), "{body}");
    }
}

#[test]
fn events_of_streams_without_choices_are_all_read() {
    let text = "data: {\"event_type\":\"text-generation\",\"text\":\"a word\"}\n\n";
    let end = "data: {\"event_type\":\"stream-end\",\"response\":{\"meta\":{\"billed_units\":{\"input_tokens\":3,\"output_tokens\":4}}}}\n\n";
    let mut meter = Meter::new(&head(SSE));
    for _ in 0..40 {
        meter.push(text.as_bytes());
    }
    meter.push(format!("{text}{end}{text}").as_bytes());
    meter.finish();
    assert_eq!(tokens(&meter), Some((3, 4, 7)));
}

#[test]
fn document_of_a_sequence_is_not_likely_final() {
    let report = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
    for (content_type, is_likely_final) in [
        (JSON, true),
        (NDJSON, false),
        ("Application/JSONL; charset=utf-8", false),
        ("application/json-seq", false),
    ] {
        let mut meter = Meter::new(&head(content_type));
        meter.push(format!("{report}\n").as_bytes());
        assert_eq!(tokens(&meter), Some((3, 4, 7)), "{content_type}");
        assert_eq!(meter.is_likely_final(), is_likely_final, "{content_type}");
    }
}

#[test]
fn raw_usage_is_the_last_that_counts() {
    let counts = r#"{"prompt_tokens":3,"completion_tokens":4}"#;
    for other in [
        "{}",
        r#"{"region":"eu"}"#,
        r#"{"prompt_tokens":5,"completion_tokens":-1}"#,
    ] {
        let stream = [counts, other]
            .map(|usage| format!("data: {{\"choices\":[],\"usage\":{usage}}}\n\n"))
            .concat();
        let meter = read(SSE, stream.as_bytes());
        assert_eq!(tokens(&meter), Some((3, 4, 7)), "{other}");
        assert_eq!(meter.raw_usage(), Some(counts.as_bytes()), "{other}");
    }
}

#[test]
fn details_in_the_first_of_equal_reports_count() {
    let details =
        r#"{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":2}}"#;
    let plain = r#"{"prompt_tokens":3,"completion_tokens":4}"#;
    let body = format!(r#"{{"choices":[],"usage":{details},"token_usage":{plain}}}"#);
    let usage = read(JSON, body.as_bytes()).usage().unwrap();
    assert_eq!((usage.total_tokens, usage.cached_tokens), (7, 2));
}

#[test]
fn empty_list_of_the_prompt_is_no_report() {
    for (prefill, expected) in [("[]", None), (r#"[{"id":1},{"id":2}]"#, Some((2, 0, 2)))] {
        let body = format!(r#"{{"generated_text":"","details":{{"prefill":{prefill}}}}}"#);
        assert_eq!(tokens(&read(JSON, body.as_bytes())), expected, "{prefill}");
    }
}

#[test]
fn usage_objects_are_not_kept_on_demand() {
    let body = br#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
    let mut meter = Meter::new(&head(JSON)).without_raw_usage();
    meter.push(body);
    meter.finish();
    assert_eq!((tokens(&meter), meter.raw_usage()), (Some((3, 4, 7)), None));
}
