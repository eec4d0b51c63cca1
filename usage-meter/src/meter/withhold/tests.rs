//! What goes on to the client, in any pieces.

use super::{LONGEST, Withhold};
use proptest::prelude::*;

fn stream(pieces: &[&[u8]]) -> Vec<u8> {
    let mut withhold = Withhold::default();
    let mut passed = Vec::new();
    for piece in pieces {
        match withhold.push(piece, true, false) {
            Some(bytes) => passed.extend(bytes),
            None => passed.extend_from_slice(piece),
        }
    }
    passed.extend(withhold.push(b"", true, true).unwrap_or_default());
    passed
}

const CHUNK: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"[] hi\"}}],\"usage\":null}";
const REPORT: &str = "data: {\"choices\": [ ],\"usage\":{\"total_tokens\":9}}";
const FILTER: &str = "data: {\"choices\":[],\"prompt_filter_results\":[]}";
const DONE: &str = "data: [DONE]";

#[test]
fn the_report_is_taken_out_and_nothing_else() {
    for end in ["\n", "\r\n", "\r"] {
        let events = |lines: &[&str]| -> String {
            lines.iter().flat_map(|line| [*line, end, end]).collect()
        };
        let all = events(&[FILTER, CHUNK, ": ping", CHUNK, REPORT, DONE]);
        let kept = events(&[FILTER, CHUNK, ": ping", CHUNK, DONE]);
        assert_eq!(stream(&[all.as_bytes()]), kept.as_bytes(), "{end:?}");
    }
}

#[test]
fn bytes_that_are_whole_events_pass_as_they_are() {
    let mut withhold = Withhold::default();
    assert_eq!(
        withhold.push(format!("{CHUNK}\n\n{CHUNK}\n\n").as_bytes(), true, false),
        None
    );
}

#[test]
fn an_event_that_breaks_off_waits_and_a_long_one_does_not() {
    let mut withhold = Withhold::default();
    assert_eq!(
        withhold.push(b"data: {\"choi", true, false),
        Some(Vec::new())
    );
    assert_eq!(
        withhold.push(b"ces\":[]", true, true),
        Some(b"data: {\"choices\":[]".to_vec())
    );
    let mut withhold = Withhold::default();
    let long = vec![b'x'; LONGEST + 1];
    assert_eq!(withhold.push(&long, true, false), None);
    assert_eq!(withhold.push(&long, true, false), None);
    assert_eq!(withhold.push(b"x\n\n", true, false), None);
    assert_eq!(
        withhold.push(format!("{REPORT}\n\n").as_bytes(), true, false),
        Some(Vec::new())
    );
}

#[test]
fn a_report_without_its_blank_line_is_taken_out_at_the_end() {
    assert_eq!(
        stream(&[format!("{CHUNK}\n\n{REPORT}").as_bytes()]),
        format!("{CHUNK}\n\n").as_bytes()
    );
}

proptest! {
    #[test]
    fn any_split_passes_the_same(
        lines in prop::collection::vec(
            prop_oneof![Just(CHUNK), Just(REPORT), Just(DONE), Just(FILTER), Just(": c"), Just("x\n[]")],
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
    fn what_holds_no_report_is_not_changed(bytes: Vec<u8>, split: prop::sample::Index) {
        let (a, b) = bytes.split_at(split.index(bytes.len() + 1));
        prop_assert_eq!(stream(&[a, b]), bytes);
    }
}

#[test]
fn a_report_is_taken_out_that_comes_after_a_line_end_which_may_be_half_of_one() {
    for end in ["\r", "\r\n"] {
        let chunk = format!("{CHUNK}{end}{end}");
        let report = format!("{REPORT}{end}{end}");
        let all = format!("{chunk}{report}");
        let cut = chunk.len() - (end.len() - 1);
        let (first, rest) = all.as_bytes().split_at(cut);
        assert_eq!(stream(&[first, rest]), chunk.as_bytes(), "{end:?}");
    }
}

/// A chunk of many events, without a report, before the end of a stream.
fn many(count: usize) -> String {
    format!("{CHUNK}\n\n").repeat(count)
}

const FINISH: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}";

#[test]
fn many_events_pass_as_they_are_wherever_they_are_cut() {
    let all = many(200);
    for cut in [5_000, 5_001, 5_030, 9_999] {
        let mut withhold = Withhold::default();
        assert_eq!(withhold.push(&all.as_bytes()[..cut], false, false), None);
        assert_eq!(withhold.push(&all.as_bytes()[cut..], false, false), None);
    }
}

#[test]
fn a_report_behind_many_events_is_taken_out_wherever_it_is_cut() {
    let before = many(100) + FINISH + "\n\n";
    let all = format!("{before}{REPORT}\n\n{DONE}\n\n");
    let kept = format!("{before}{DONE}\n\n");
    for cut in before.len() - FINISH.len()..all.len() {
        let mut withhold = Withhold::default();
        let (first, rest) = all.as_bytes().split_at(cut);
        let mut passed = Vec::new();
        for (piece, end) in [(first, false), (rest, false), (&[][..], true)] {
            // What the meter knows: whether the whole report has come.
            let reported = end || cut > before.len() + REPORT.len() || piece == rest;
            let out = withhold.push(piece, reported, end);
            passed.extend(out.unwrap_or_else(|| piece.to_vec()));
        }
        assert_eq!(String::from_utf8(passed).unwrap(), kept, "{cut}");
    }
}
