//! Long pieces of which only the end is at hand.

use super::super::ReportFilter;
use super::{CHUNK, REPORT};

const PLAIN: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}";

/// Returns a filter that has passed these bytes.
fn after(bytes: &str) -> ReportFilter {
    let mut filter = ReportFilter::default();
    filter.push(bytes, false, false);
    filter
}

/// Returns a filter that has passed a chunk without `"usage":null`.
fn after_chunk() -> ReportFilter {
    after(&format!("{PLAIN}\n\n"))
}

fn tail(end: &str) -> String {
    format!("{}{end}", format!("{PLAIN}\n\n").repeat(80))
}

#[test]
fn tail_of_text_passes() {
    let mut filter = after_chunk();
    assert!(filter.push_ends(b"", tail("").as_bytes(), false));
    // The next event may be the report.
    assert!(filter.push(&REPORT[..20], false, false).is_held);
}

#[test]
fn head_and_tail_of_text_pass() {
    let head = tail(&PLAIN[..20]);
    let mut filter = ReportFilter::default();
    assert!(filter.push_ends(head.as_bytes(), tail("").as_bytes(), false));
    assert!(filter.push(&REPORT[..20], false, false).is_held);
}

#[test]
fn head_that_may_change_is_read_again() {
    let nulls = format!("{CHUNK}\n\n").repeat(30);
    let mut filter = ReportFilter::default();
    let tail = tail("");
    assert!(!filter.push_ends(nulls.as_bytes(), tail.as_bytes(), false));
    let piece = format!("{nulls}{tail}");
    let passage = filter.push(piece.as_str(), false, false);
    let expected = ReportFilter::default().push(piece.as_str(), false, false);
    assert!(passage.replacement.is_some());
    assert_eq!(passage, expected);
}

#[test]
fn rest_of_event_after_tail_passes() {
    let (begun, rest) = PLAIN.split_at(20);
    let mut filter = after_chunk();
    assert!(filter.push_ends(b"", tail(begun).as_bytes(), false));
    assert!(!filter.push(rest, false, false).is_held);
}

#[test]
fn tail_is_read_where_part_may_be_removed() {
    let finish = "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n";
    let held = {
        let mut filter = after_chunk();
        assert!(filter.push(&REPORT[..20], false, false).is_held);
        filter
    };
    let cases = [
        ("reported", after_chunk(), tail(""), true),
        ("nulls", after(&format!("{CHUNK}\n\n")), tail(""), false),
        ("unknown", ReportFilter::default(), tail(""), false),
        ("held", held, tail(""), false),
        ("report", after_chunk(), tail(REPORT), false),
        ("finish", after_chunk(), tail(finish), false),
        (
            "finished",
            after(&format!("{PLAIN}\n\n{finish}")),
            tail(""),
            false,
        ),
    ];
    for (case, mut filter, tail, reported) in cases {
        assert!(!filter.push_ends(b"", tail.as_bytes(), reported), "{case}");
    }
}

#[test]
fn finish_is_found_across_end_of_tail() {
    let finish = "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n";
    for cut in 24..finish.len() - 8 {
        let (begun, rest) = finish.split_at(cut);
        let mut filter = after_chunk();
        if !filter.push_ends(b"", tail(begun).as_bytes(), false) {
            // The finish reason is whole within the tail.
            continue;
        }
        filter.push(rest, false, false);
        let rest = format!(": {}\n\n{}", "x".repeat(3_000), &REPORT[..20]);
        assert!(filter.push(rest, false, false).is_held, "{cut}");
    }
}

#[test]
fn report_is_searched_where_it_may_be() {
    let early = format!("{}{REPORT}", tail(""));
    let piece = format!("{early}\n\n{}{REPORT}\n\n", tail(""));
    let mut filter = after_chunk();
    let passage = filter.push_searched(piece.into(), early.len(), true, false);
    let expected = format!("{early}\n\n{}", tail(""));
    assert_eq!(passage.replacement, Some(expected.into()));
}

#[test]
fn report_that_was_held_is_searched_again() {
    let mut filter = after_chunk();
    assert!(filter.push(&REPORT[..20], false, false).is_held);
    let rest = format!("{}\n\n{}", &REPORT[20..], tail(""));
    let searched = rest.len() - 100;
    let passage = filter.push_searched(rest.into(), searched, true, false);
    assert_eq!(passage.replacement, Some(tail("").into()));
}

#[test]
fn second_line_of_event_is_no_report() {
    let mut filter = after_chunk();
    let first_line = format!("{PLAIN}\n");
    assert!(!filter.push(first_line.as_str(), false, false).is_held);
    let rest = format!("{REPORT}\n\n{PLAIN}\n\n");
    assert_eq!(filter.push(rest.as_str(), true, true).replacement, None);
}

#[test]
fn finish_reason_is_not_joined_across_lines() {
    let mut filter = after_chunk();
    filter.push("data: {\"choices\":[{\"finish_reason", false, false);
    filter.push("\n", false, false);
    filter.push("\":\"stop\"}]}\n\n", false, false);
    let far = format!(": {}\n\n{}", "x".repeat(1_500), &REPORT[..20]);
    assert!(!filter.push(far.as_str(), false, false).is_held);
}

#[test]
fn short_pieces_are_searched_whatever_was_reported() {
    let mut filter = after_chunk();
    let piece = format!("{PLAIN}\n\n{REPORT}\n\n{PLAIN}\n\n");
    let passage = filter.push(piece.as_str(), false, false);
    let expected = format!("{PLAIN}\n\n{PLAIN}\n\n");
    assert_eq!(passage.replacement, Some(expected.into()));
}
