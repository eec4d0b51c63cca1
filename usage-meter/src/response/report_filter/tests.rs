use proptest::prelude::*;

use super::ReportFilter;

fn stream(pieces: &[&[u8]]) -> Vec<u8> {
    let mut filter = ReportFilter::default();
    let mut passed = Vec::new();
    for piece in pieces {
        match filter.push(piece, true, false) {
            Some(bytes) => passed.extend(bytes),
            None => passed.extend_from_slice(piece),
        }
    }
    passed.extend(filter.push(b"", true, true).unwrap_or_default());
    passed
}

const CHUNK: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"[] hi\"}}],\"usage\":null}";
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
        let kept = events(&[CONTENT_FILTER, CHUNK, ": ping", CHUNK, DONE]);
        assert_eq!(stream(&[all.as_bytes()]), kept.as_bytes(), "{end:?}");
    }
}

#[test]
fn complete_events_pass_unchanged() {
    let mut filter = ReportFilter::default();
    assert_eq!(
        filter.push(format!("{CHUNK}\n\n{CHUNK}\n\n").as_bytes(), true, false),
        None
    );
}

#[test]
fn incomplete_event_is_held_back_unless_too_long() {
    let mut filter = ReportFilter::default();
    assert_eq!(filter.push(b"data: {\"choi", true, false), Some(Vec::new()));
    assert_eq!(
        filter.push(b"ces\":[]", true, true),
        Some(b"data: {\"choices\":[]".to_vec())
    );
    let mut filter = ReportFilter::default();
    let long = vec![b'x'; ReportFilter::MAX_REPORT_BYTES + 1];
    assert_eq!(filter.push(&long, true, false), None);
    assert_eq!(filter.push(&long, true, false), None);
    assert_eq!(filter.push(b"x\n\n", true, false), None);
    assert_eq!(
        filter.push(format!("{REPORT}\n\n").as_bytes(), true, false),
        Some(Vec::new())
    );
}

#[test]
fn report_without_blank_line_is_removed_at_end() {
    assert_eq!(
        stream(&[format!("{CHUNK}\n\n{REPORT}").as_bytes()]),
        format!("{CHUNK}\n\n").as_bytes()
    );
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
            .flat_map(|line| [*line, end, end]).collect();
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
        let chunk = format!("{CHUNK}{end}{end}");
        let report = format!("{REPORT}{end}{end}");
        let all = format!("{chunk}{report}");
        let cut = chunk.len() - (end.len() - 1);
        let (first, rest) = all.as_bytes().split_at(cut);
        assert_eq!(stream(&[first, rest]), chunk.as_bytes(), "{end:?}");
    }
}

/// Returns many events without a report.
fn many(count: usize) -> String {
    format!("{CHUNK}\n\n").repeat(count)
}

const FINISH: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}";

#[test]
fn many_events_pass_unchanged_at_every_split() {
    let all = many(200);
    for cut in [5_000, 5_001, 5_030, 9_999] {
        let mut filter = ReportFilter::default();
        assert_eq!(filter.push(&all.as_bytes()[..cut], false, false), None);
        assert_eq!(filter.push(&all.as_bytes()[cut..], false, false), None);
    }
}

#[test]
fn report_after_many_events_is_removed() {
    let before = many(100) + FINISH + "\n\n";
    let all = format!("{before}{REPORT}\n\n{DONE}\n\n");
    let kept = format!("{before}{DONE}\n\n");
    for cut in before.len() - FINISH.len()..all.len() {
        let mut filter = ReportFilter::default();
        let (first, rest) = all.as_bytes().split_at(cut);
        let mut passed = Vec::new();
        for (piece, end) in [(first, false), (rest, false), (&[][..], true)] {
            // As the meter reports it: whether the complete report has come.
            let reported = end || cut > before.len() + REPORT.len() || piece == rest;
            let out = filter.push(piece, reported, end);
            passed.extend(out.unwrap_or_else(|| piece.to_vec()));
        }
        assert_eq!(String::from_utf8(passed).unwrap(), kept, "{cut}");
    }
}
