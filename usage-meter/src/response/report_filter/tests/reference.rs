//! The filter compared with one that parses every event.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

use super::{DONE, FINISH, PASSED, REPORT};
use crate::{Meter, Passage, ReportFilter, ResponseHead};

const NULL: &str = r#","usage":null"#;

/// Events between the first chunk and the report; each `#` is where chunks have `"usage":null`.
const EVENTS: &[&str] = &[
    r#"{"choices":[{"delta":{"content":"hi"}}]#}"#,
    r#"{"choices":[{"delta":{"content":"a longer text, [] and {\"usage\":null}"}}]#}"#,
    r#"{"choices":[{"delta":{"content":",\"usage\":null,\"choices\":[]"}}]#,"obfuscation":"x"}"#,
    r#"{"id":"1","object":"chat.completion.chunk","choices" : [ {"delta":{}} ]#, "x":[]}"#,
    r#"{"choices":[{"delta":{"tool_calls":[]}}],"usage":{"total_tokens":5}}"#,
    r#"{"choices":[],"prompt_filter_results":[]}"#,
    r#"{"usage":{"total_tokens":5},"choices":[{"index":0}]}"#,
    r#"{"choices":[],"x":{"usage":{"total_tokens":5}}}"#,
];

/// Returns an event with or without its null.
fn event(template: &str, has_null: bool) -> String {
    format!(
        "data: {}",
        template.replace('#', if has_null { NULL } else { "" })
    )
}

/// Returns what passes of events with these line endings.
fn reference(stream: &str, end: &str) -> String {
    let passes = |event: &str| {
        let data = event.trim_end_matches(end).strip_prefix("data: ");
        let value: Value = serde_json::from_str(data.unwrap_or_default()).unwrap_or_default();
        let is_report = value["choices"] == Value::Array(Vec::new()) && value["usage"].is_object();
        let has_null = value.get("usage") == Some(&Value::Null);
        match (is_report, has_null, event.rfind(NULL)) {
            (true, ..) => String::new(),
            (_, true, Some(at)) => [&event[..at], &event[at + NULL.len()..]].concat(),
            _ => event.to_owned(),
        }
    };
    let blank = format!("{end}{end}");
    stream.split_inclusive(&blank).map(passes).collect()
}

/// Passes pieces through a meter, a filter and a buffer as Envoy has it; returns what passes.
fn pass(pieces: &[&[u8]]) -> String {
    let mut meter = Meter::new(&ResponseHead {
        status: 200,
        content_type: Some(b"text/event-stream"),
        ..ResponseHead::default()
    });
    let mut filter = ReportFilter::default();
    let (mut buffer, mut passed) = (Vec::new(), Vec::new());
    for (index, piece) in pieces.iter().enumerate() {
        meter.push(piece);
        buffer.extend_from_slice(piece);
        let is_end = index + 1 == pieces.len();
        let Passage {
            replacement,
            is_held,
        } = filter.push(*piece, meter.usage().is_some(), is_end);
        buffer = replacement.unwrap_or(buffer);
        if !is_held {
            passed.append(&mut buffer);
        }
        assert_eq!(filter.held_bytes(), buffer.len());
    }
    String::from_utf8(passed).unwrap()
}

proptest! {
    #[test]
    fn same_bytes_pass_as_through_the_reference(
        templates in prop::collection::vec(select(EVENTS), 0..80),
        has_nulls: bool,
        end in select(vec!["\n", "\r\n", "\r"]),
        cuts in prop::collection::vec(any::<Index>(), 0..40),
    ) {
        let first = event(EVENTS[0], has_nulls);
        let mut lines = vec![first];
        lines.extend(templates.iter().map(|template| event(template, has_nulls)));
        lines.extend([FINISH, REPORT, DONE].map(str::to_owned));
        let stream: String = lines.iter().flat_map(|line| [line, end, end]).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &stream.as_bytes()[cut[0]..cut[1]]);
        let pieces: Vec<&[u8]> = pieces.collect();
        prop_assert_eq!(pass(&pieces), reference(&stream, end));
        let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        prop_assert_eq!(pass(&bytes), reference(&stream, end));
    }
}

#[test]
fn piece_with_content_is_never_held() {
    for template in &EVENTS[..4] {
        for has_null in [false, true] {
            let first = format!("{}\n\n", event(EVENTS[0], has_null));
            let chunk = format!("{}\n\n", event(template, has_null));
            let content = chunk.find('[').unwrap();
            let content = content + chunk[content..].find('{').unwrap() + 1;
            for cut in content..chunk.len() {
                let mut filter = ReportFilter::default();
                filter.push(first.as_bytes(), false, false);
                let passage = filter.push(&chunk.as_bytes()[..cut], false, false);
                // What may become a null is held, whatever is before it.
                let begun = chunk[..cut]
                    .rsplit_once(',')
                    .map(|(_, end)| end.trim_start());
                let may_be_null = has_null && begun.is_some_and(|end| NULL[1..].starts_with(end));
                assert!(!passage.is_held || may_be_null, "{}", &chunk[..cut]);
            }
        }
    }
}

#[test]
fn piece_of_whole_events_is_not_held() {
    let mut filter = ReportFilter::default();
    for piece in [PASSED, FINISH, ": ping", r#"data: {"choices":[],"x":1}"#] {
        let piece = format!("{piece}\n\n");
        assert_eq!(
            filter.push(piece.as_bytes(), false, false),
            Passage::default()
        );
    }
}
