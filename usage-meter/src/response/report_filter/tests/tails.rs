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
