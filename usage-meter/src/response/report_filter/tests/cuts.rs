//! Pieces that end anywhere, after the first chunk has passed.

use super::{CHUNK, DONE, FINISH, PASSED, REPORT, many, pass};

/// Passes the first chunk, and then pieces of the rest, which end at these places. The report is known once all of it
/// has come, as a meter reports it.
fn pass_after_chunk(chunk: &str, rest: &str, cuts: &[usize]) -> String {
    let first = format!("{chunk}\n\n");
    let known = rest.find(REPORT).map(|at| at + REPORT.len());
    let mut pieces = vec![first.as_bytes()];
    let mut from = 0;
    for &cut in cuts.iter().chain([&rest.len()]) {
        pieces.push(&rest.as_bytes()[from..cut]);
        from = cut;
    }
    let ends: Vec<usize> = [0]
        .iter()
        .chain(cuts)
        .chain([&rest.len()])
        .copied()
        .collect();
    let passed = pass(&pieces, |index| {
        known.is_some_and(|known| ends[index] >= known)
    });
    let passed = String::from_utf8(passed).unwrap();
    let (begin, passed) = passed.split_once("\n\n").unwrap();
    assert_eq!(begin, PASSED);
    passed.to_owned()
}

#[test]
fn report_is_removed_wherever_pieces_end() {
    for chunk in [CHUNK, PASSED] {
        for end in ["\n", "\r\n", "\r"] {
            let [events, kept] = [true, false].map(|has_report| {
                let report = if has_report { REPORT } else { "" };
                let report = if has_report {
                    [report, end, end].concat()
                } else {
                    String::new()
                };
                [chunk, end, end, &report, DONE, end, end].concat()
            });
            let kept = kept.replace(chunk, PASSED);
            for cut in 0..=events.len() {
                for length in [1, 2, 5, 30, 60] {
                    let cuts = [cut, (cut + length).min(events.len())];
                    let passed = pass_after_chunk(chunk, &events, &cuts);
                    assert_eq!(passed, kept, "{end:?} {cuts:?}");
                }
            }
        }
    }
}

#[test]
fn long_piece_after_a_held_beginning_passes_with_it() {
    for (chunk, begun) in [(PASSED, 12), (CHUNK, 12), (CHUNK, 60)] {
        let events = [
            format!("{chunk}\n\n").repeat(100),
            format!("{FINISH}\n\n{REPORT}\n\n"),
        ];
        let kept = many(100) + FINISH + "\n\n";
        for cut in [begun, begun + chunk.len() + 2] {
            for length in [4_200, 5_000] {
                let cuts = [cut, cut + length];
                let passed = pass_after_chunk(chunk, &events.concat(), &cuts);
                assert_eq!(passed, kept, "{cuts:?}");
            }
        }
    }
}

#[test]
fn report_in_a_long_piece_is_removed_without_finish() {
    let before = many(100);
    for end in ["", "\n", "\n\n"] {
        let passed = pass_after_chunk(PASSED, &format!("{before}{REPORT}{end}"), &[]);
        assert_eq!(passed, before, "{end:?}");
    }
}

#[test]
fn report_that_begins_in_a_long_piece_after_finish_is_removed() {
    let before = many(100) + FINISH + "\n\n";
    let events = format!("{before}{REPORT}\n\n{DONE}\n\n");
    for begun in 1..REPORT.len() {
        let passed = pass_after_chunk(PASSED, &events, &[before.len() + begun]);
        assert_eq!(passed, format!("{before}{DONE}\n\n"), "{begun}");
    }
}

#[test]
fn report_is_removed_after_a_long_piece() {
    let before = many(100);
    let events = format!("{before}{REPORT}\n\n{DONE}\n\n");
    // The piece ends with an event, or within one, whose rest passes.
    for cut in [
        before.len(),
        before.len() - 1,
        before.len() - 20,
        before.len() - 60,
    ] {
        let passed = pass_after_chunk(PASSED, &events, &[cut]);
        assert_eq!(passed, format!("{before}{DONE}\n\n"), "{cut}");
    }
}

#[test]
fn null_is_removed_where_a_long_piece_ends_within_it() {
    let events = format!("{CHUNK}\n\n").repeat(200);
    for cut in 5_000..5_000 + CHUNK.len() {
        assert_eq!(pass_after_chunk(CHUNK, &events, &[cut]), many(200), "{cut}");
    }
}

#[test]
fn rest_of_an_event_that_has_passed_is_no_report() {
    let begun = "data: {\"choices\":[{\"delta\":\n";
    let rest = "data: {\"choices\":[],\"usage\":{}}\ndata: }]}\n\n";
    let events = format!("{begun}{rest}");
    let passed = pass_after_chunk(PASSED, &events, &[begun.len()]);
    assert_eq!(passed, events);
}

#[test]
fn first_chunk_passes_without_its_null_wherever_pieces_end() {
    let before = format!("{CHUNK}\n\n{FINISH}\n\n");
    let events = format!("{before}{REPORT}\n\n");
    let kept = format!("{PASSED}\n\n{FINISH}\n\n");
    for first in 0..CHUNK.len() + 2 {
        for second in first..events.len() {
            let (begin, last) = events.as_bytes().split_at(second);
            let pieces = [&begin[..first], &begin[first..], last];
            let is_reported = |index| index == 2 || second >= before.len() + REPORT.len();
            let passed = String::from_utf8(pass(&pieces, is_reported)).unwrap();
            assert_eq!(passed, kept, "{first} {second}");
        }
    }
}
