//! The number of bytes of generated text in streams of which not every event is read.

use super::{SSE, head, read};
use crate::Meter;

/// Returns an event with this text.
fn event(text: &str, end: &str) -> String {
    format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}{end}{end}")
}

#[test]
fn text_of_equal_events_is_extrapolated_exactly() {
    for end in ["\n", "\r", "\r\n"] {
        let body = event("five.", end).repeat(2_000);
        let meter = read(SSE, body.as_bytes());
        assert_eq!(meter.output_bytes(), 10_000, "{end:?}");
        for size in [40_000, 1_001, 64] {
            let mut meter = Meter::new(&head(SSE));
            for piece in body.as_bytes().chunks(size) {
                meter.push(piece);
            }
            meter.finish();
            // The halves of a line ending may be in two pieces.
            let difference = meter.output_bytes().abs_diff(10_000);
            assert!(
                difference < end.len() as u64,
                "{end:?} in pieces of {size}: {difference}"
            );
        }
    }
}

#[test]
fn scanned_events_without_text_are_not_extrapolated() {
    let begin = event("", "\n").repeat(300);
    let mut meter = Meter::new(&head(SSE));
    for piece in begin.as_bytes().chunks(150) {
        meter.push(piece);
    }
    meter.push(event("five.", "\n").repeat(2_000).as_bytes());
    meter.finish();
    assert_eq!(meter.output_bytes(), 10_000);
}

#[test]
fn short_stream_is_counted_exactly() {
    let lengths = [
        1_usize, 90, 3, 400, 1, 1, 7, 2_000, 5, 5, 1, 60, 2, 2, 31, 1, 9,
    ];
    let events = lengths.map(|length| event(&"x".repeat(length), "\n"));
    let meter = read(SSE, events.concat().as_bytes());
    assert_eq!(meter.output_bytes(), lengths.iter().sum::<usize>() as u64);
}
