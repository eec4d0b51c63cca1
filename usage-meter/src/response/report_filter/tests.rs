mod cuts;
mod reference;
mod tails;

use proptest::prelude::*;

use super::{Passage, ReportFilter};

/// Passes the pieces of a stream through a filter and a buffer as Envoy has it; returns what passes.
fn pass(pieces: &[&[u8]], is_reported: impl Fn(usize) -> bool) -> Vec<u8> {
    let mut filter = ReportFilter::default();
    let (mut buffer, mut passed) = (Vec::new(), Vec::new());
    let mut push = |bytes: &[u8], reported, end| {
        assert_eq!(filter.held_bytes(), buffer.len());
        buffer.extend_from_slice(bytes);
        let Passage {
            replacement,
            is_held,
        } = filter.push(bytes, reported, end);
        if let Some(replacement) = replacement {
            buffer = replacement;
        }
        assert!(!is_held || !end);
        assert!(buffer.len() <= ReportFilter::MAX_REPORT_BYTES || !is_held);
        if !is_held {
            passed.append(&mut buffer);
        }
    };
    for (index, piece) in pieces.iter().enumerate() {
        push(piece, is_reported(index), false);
    }
    // Trailers come without bytes, like the end of a stream without them.
    push(b"", true, true);
    passed
}

fn stream(pieces: &[&[u8]]) -> Vec<u8> {
    pass(pieces, |_| true)
}

const CHUNK: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"[] hi\"}}],\"usage\":null}";
/// What passes of it.
const PASSED: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"[] hi\"}}]}";
const REPORT: &str = "data: {\"choices\": [ ],\"usage\":{\"total_tokens\":9}}";
const CONTENT_FILTER: &str = "data: {\"choices\":[],\"prompt_filter_results\":[]}";
const DONE: &str = "data: [DONE]";

#[test]
fn only_the_report_is_removed() {
    for end in ["\n", "\r\n", "\r"] {
        let events = |lines: &[&str]| -> String {
            lines.iter().flat_map(|line| [*line, end, end]).collect()
        };
        let all = events(&[CONTENT_FILTER, CHUNK, ": ping", CHUNK, REPORT, DONE]);
        let kept = events(&[CONTENT_FILTER, PASSED, ": ping", PASSED, DONE]);
        assert_eq!(stream(&[all.as_bytes()]), kept.as_bytes(), "{end:?}");
    }
}

#[test]
fn complete_events_pass_unchanged() {
    let mut filter = ReportFilter::default();
    let events = format!("{PASSED}\n\n{PASSED}\n\n");
    assert_eq!(
        filter.push(events.as_bytes(), true, false),
        Passage::default()
    );
}

const HELD: Passage = Passage {
    replacement: None,
    is_held: true,
};

#[test]
fn incomplete_event_is_held_and_passes_at_end() {
    let mut filter = ReportFilter::default();
    assert_eq!(filter.push(b"data: {\"choi", true, false), HELD);
    assert_eq!(filter.held_bytes(), 12);
    assert_eq!(filter.push(b"ces\":[]", true, true), Passage::default());
}

#[test]
fn beginning_of_a_chunk_with_choices_is_not_held() {
    for (begun, is_held) in [
        ("data: {\"choices\":[{\"delta\"", false),
        ("data: {\"choices\" : [ {", false),
        ("data: {\"choices\":null", false),
        ("data: {\"choices\":[", true),
        ("data: {\"choices\" : [ ]", true),
        ("data: {\"choices\":", true),
        ("data: {\"id\":7", true),
    ] {
        let mut filter = ReportFilter::default();
        filter.push(b"data: {\"choices\":[{}]}\n\n", false, false);
        let passage = filter.push(begun.as_bytes(), true, false);
        assert_eq!(passage.is_held, is_held, "{begun}");
    }
}

#[test]
fn long_event_is_not_held() {
    let mut filter = ReportFilter::default();
    let long = vec![b'x'; ReportFilter::MAX_REPORT_BYTES + 1];
    assert_eq!(
        filter.push(long.as_slice(), true, false),
        Passage::default()
    );
    assert_eq!(
        filter.push(long.as_slice(), true, false),
        Passage::default()
    );
    assert_eq!(filter.push(b"x\n\n", true, false), Passage::default());
    let report = format!("{REPORT}\n\n");
    let passage = filter.push(report.as_bytes(), true, false);
    assert_eq!(passage.replacement, Some(Vec::new()));
}

#[test]
fn long_beginning_is_held_only_after_finish() {
    let begun = &REPORT[..20];
    for (before, is_held) in [
        (CHUNK, false),
        (FINISH, true),
        // Its name is split between the pieces.
        ("finish", true),
    ] {
        let mut filter = ReportFilter::default();
        let first = if before == "finish" {
            &FINISH[..50]
        } else {
            ""
        };
        let before = if before == "finish" {
            &FINISH[50..]
        } else {
            before
        };
        filter.push(first.as_bytes(), false, false);
        let comment = format!(": {}", "x".repeat(1_100));
        let piece = format!("{before}\n\n{comment}\n\n{begun}");
        let passage = filter.push(piece.as_bytes(), false, false);
        assert_eq!(passage.is_held, is_held, "{before}");
    }
}

#[test]
fn beginning_is_held_at_any_distance_from_finish() {
    for bytes in [10, 1_100, 3_000] {
        let mut filter = ReportFilter::default();
        for byte in FINISH.as_bytes() {
            filter.push([*byte], false, false);
        }
        let rest = format!("\n\n: {}\n\n{}", "x".repeat(bytes), &REPORT[..20]);
        assert!(
            filter.push(rest.as_bytes(), false, false).is_held,
            "{bytes}"
        );
        let mut filter = ReportFilter::default();
        let piece = format!("{FINISH}{rest}");
        assert!(
            filter.push(piece.as_bytes(), false, false).is_held,
            "{bytes}"
        );
    }
}

#[test]
fn report_is_held_up_to_the_maximum() {
    for (bytes, is_held) in [
        (ReportFilter::MAX_REPORT_BYTES - 1, true),
        (ReportFilter::MAX_REPORT_BYTES, true),
        (ReportFilter::MAX_REPORT_BYTES + 1, false),
        (ReportFilter::MAX_REPORT_BYTES + 100, false),
    ] {
        let (begin, end) = ("data: {\"choices\":[],\"usage\":{\"x\":\"", "\"}}");
        let padding = "x".repeat(bytes - begin.len() - end.len());
        let report = format!("{begin}{padding}{end}");
        let passage = ReportFilter::default().push(report.as_bytes(), true, false);
        assert_eq!(passage.is_held, is_held, "{bytes}");
    }
}

#[test]
fn report_without_blank_line_is_removed_at_end() {
    assert_eq!(
        stream(&[format!("{CHUNK}\n\n{REPORT}").as_bytes()]),
        format!("{PASSED}\n\n").as_bytes()
    );
}

#[test]
fn null_usage_is_removed_from_chunks() {
    for (chunk, passed) in [
        (r#"{"choices":[{}],"usage":null}"#, r#"{"choices":[{}]}"#),
        (r#"{"choices":[{}], "usage": null}"#, r#"{"choices":[{}]}"#),
        (
            r#"{"choices":[{}],"usage":null,"obfuscation":"x"}"#,
            r#"{"choices":[{}],"obfuscation":"x"}"#,
        ),
        (
            r#"{"choices":[{"text":",\"usage\":null"}],"usage":null}"#,
            r#"{"choices":[{"text":",\"usage\":null"}]}"#,
        ),
        (
            r#"{"choices":[{}],"usage":{}}"#,
            r#"{"choices":[{}],"usage":{}}"#,
        ),
        (
            r#"{"choices":[{}],"usages":null}"#,
            r#"{"choices":[{}],"usages":null}"#,
        ),
    ] {
        let [sent, kept] = [chunk, passed].map(|data| format!("data: {data}\n\n").repeat(60));
        for size in [1, 7, 64, 5_000, sent.len()] {
            let pieces: Vec<&[u8]> = sent.as_bytes().chunks(size).collect();
            let passed = String::from_utf8(stream(&pieces)).unwrap();
            assert_eq!(passed, kept, "in pieces of {size}");
        }
    }
}

#[test]
fn chunks_without_null_are_not_searched_for_it() {
    let mut filter = ReportFilter::default();
    filter.push(format!("{PASSED}\n\n").as_bytes(), false, false);
    let cut = format!("{PASSED}\n\n").repeat(200) + "data: {\"choices\":[{}],\"usage\":nu";
    let passage = filter.push(cut.as_bytes(), false, false);
    assert_eq!(passage, Passage::default());
}

proptest! {
    #[test]
    fn every_split_passes_the_same(
        lines in prop::collection::vec(
            prop_oneof![Just(CHUNK), Just(REPORT), Just(DONE), Just(CONTENT_FILTER), Just(": c"), Just("x\n[]")],
            0..6
        ),
        end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let all: String = lines.iter().flat_map(|line| [*line, end, end]).collect();
        let kept: String = lines.iter().filter(|line| **line != REPORT)
            .map(|line| if *line == CHUNK { PASSED } else { line })
            .flat_map(|line| [line, end, end]).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(all.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([all.len()]) {
            pieces.push(&all.as_bytes()[from..cut]);
            from = cut;
        }
        prop_assert_eq!(String::from_utf8(stream(&pieces)).unwrap(), kept);
    }

    #[test]
    fn bytes_without_report_pass_unchanged(bytes: Vec<u8>, split: prop::sample::Index) {
        let (a, b) = bytes.split_at(split.index(bytes.len() + 1));
        prop_assert_eq!(stream(&[a, b]), bytes);
    }
}

#[test]
fn report_after_split_line_ending_is_removed() {
    for end in ["\r", "\r\n"] {
        let chunk = format!("{PASSED}{end}{end}");
        let report = format!("{REPORT}{end}{end}");
        let all = format!("{chunk}{report}");
        let cut = chunk.len() - (end.len() - 1);
        let (first, rest) = all.as_bytes().split_at(cut);
        assert_eq!(stream(&[first, rest]), chunk.as_bytes(), "{end:?}");
    }
}

/// Returns many events without a report.
fn many(count: usize) -> String {
    format!("{PASSED}\n\n").repeat(count)
}

const FINISH: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}";

#[test]
fn many_events_pass_unchanged_at_every_split() {
    let all = many(200);
    for cut in [5_000, 5_001, 5_030, 9_999] {
        let mut filter = ReportFilter::default();
        for piece in [&all.as_bytes()[..cut], &all.as_bytes()[cut..]] {
            assert_eq!(filter.push(piece, false, false), Passage::default());
        }
    }
}

#[test]
fn report_without_finish_is_removed() {
    let before = many(100);
    let report = format!("{REPORT}\n\n");
    let all = format!("{before}{report}");
    assert_eq!(stream(&[all.as_bytes()]), before.as_bytes());
    let pieces = [before.as_bytes(), report.as_bytes()];
    assert_eq!(pass(&pieces, |index| index == 1), before.as_bytes());
}

proptest! {
    #[test]
    fn report_is_removed_however_it_arrives(
        count in 0_usize..150,
        end in prop_oneof![Just("\n"), Just("\r\n")],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let [before, kept] = [CHUNK, PASSED].map(|chunk| {
            let chunks = format!("{chunk}{end}{end}").repeat(count);
            format!("{chunks}{FINISH}{end}{end}")
        });
        let after = format!("{DONE}{end}{end}");
        let all = format!("{before}{REPORT}{end}{end}{after}");
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(all.len() + 1)).collect();
        cuts.push(all.len());
        cuts.sort_unstable();
        let mut from = 0;
        let mut pieces = Vec::new();
        for &cut in &cuts {
            pieces.push(&all.as_bytes()[from..cut]);
            from = cut;
        }
        // As the meter reports it: whether the complete report has come.
        let is_reported = |index: usize| cuts[index] >= before.len() + REPORT.len();
        let passed = String::from_utf8(pass(&pieces, is_reported)).unwrap();
        prop_assert_eq!(passed, format!("{kept}{after}"));
    }
}

#[test]
fn report_after_many_events_is_removed() {
    let before = many(100) + FINISH + "\n\n";
    let all = format!("{before}{REPORT}\n\n{DONE}\n\n");
    let kept = format!("{before}{DONE}\n\n");
    for cut in before.len() - FINISH.len()..all.len() {
        let (first, rest) = all.as_bytes().split_at(cut);
        // As the meter reports it: whether the complete report has come.
        let is_reported = |index| index == 1 || cut > before.len() + REPORT.len();
        let passed = pass(&[first, rest], is_reported);
        assert_eq!(String::from_utf8(passed).unwrap(), kept, "{cut}");
    }
}
