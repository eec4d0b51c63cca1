//! Long pieces of which only the end is read.

use proptest::prelude::*;
use proptest::sample::select;

use super::{SSE, head, read, tokens};
use crate::{DecoderMemory, Meter, ResponseHead, UsageNumber, UsagePaths};

const REPORT: &str =
    r#"data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#;
const DONE: &str = "data: [DONE]";

/// Returns a chunk with this text, after which a stream may be skipped if there are enough of them.
fn chunk(text: &str) -> String {
    format!(r#"data: {{"model":"m","choices":[{{"delta":{{"content":"{text}"}}}}]}}"#)
}

fn events(lines: &[String], end: &str) -> String {
    lines.iter().flat_map(|line| [line, end, end]).collect()
}

/// Reads the next piece, its end alone if that is sufficient. Returns whether it was.
fn push(meter: &mut Meter, piece: &[u8]) -> bool {
    let skipped = piece.len().saturating_sub(Meter::TAIL_BYTES);
    let is_sufficient = skipped > 0 && meter.push_tail(skipped, &piece[skipped..]);
    if !is_sufficient {
        meter.push(piece);
    }
    is_sufficient
}

/// Returns a meter in the middle of a stream.
fn begun() -> Meter {
    let mut meter = Meter::new(&head(SSE));
    meter.push(events(&vec![chunk("five."); 20], "\n").as_bytes());
    assert!(meter.may_skip());
    meter
}

#[test]
fn length_of_skipped_bytes_stands_for_their_text() {
    for end in ["\n", "\r\n"] {
        let mut meter = Meter::new(&head(SSE));
        let body = events(&vec![chunk("five."); 4_000], end);
        let pieces: Vec<&[u8]> = body.as_bytes().chunks(20_000).collect();
        let skipped = pieces
            .iter()
            .filter(|piece| push(&mut meter, piece))
            .count();
        assert!(skipped + 2 >= pieces.len(), "{skipped} of {}", pieces.len());
        meter.finish();
        assert!(
            meter.output_bytes().abs_diff(20_000) <= 2,
            "{end:?} {}",
            meter.output_bytes()
        );
        assert_eq!(meter.model(), Some("m"));
    }
}

#[test]
fn few_events_may_be_followed_by_skipping() {
    let after = |events: usize| {
        let mut meter = Meter::new(&head(SSE));
        meter.push(self::events(&vec![chunk("five."); events], "\n").as_bytes());
        (meter.may_skip(), meter.may_skip_later())
    };
    assert_eq!(after(0), (false, true));
    assert_eq!(after(15), (false, true));
    assert_eq!(after(16), (true, false));
    assert_eq!(after(30), (true, false));
}

#[test]
fn other_bodies_are_never_skipped() {
    let may_skip_later = |content_type, coding, first: &str| {
        let head = ResponseHead {
            content_encoding: coding,
            ..head(content_type)
        };
        let mut meter = Meter::new(&head);
        meter.push(first.as_bytes());
        meter.may_skip_later()
    };
    assert!(may_skip_later(SSE, None, ""));
    assert!(!may_skip_later("application/json", None, ""));
    assert!(may_skip_later("application/json", None, "data: "));
    assert!(!may_skip_later(SSE, Some(b"gzip".as_slice()), ""));
    assert!(!may_skip_later(SSE, None, "{"));
    let reported = format!("{}\n\n{REPORT}\n\n", chunk("five."));
    assert!(!may_skip_later(SSE, None, &reported));
    let pointer = "/nvext/tokens".parse().unwrap();
    let paths = UsagePaths::new([(UsageNumber::Total, &pointer)]).unwrap();
    for first in ["", "data: "] {
        let memory = DecoderMemory::default();
        let mut meter = Meter::with_paths(&head(SSE), &paths, &memory);
        meter.push(first.as_bytes());
        assert!(!meter.may_skip_later(), "a report has any name");
    }
}

#[test]
fn rest_of_event_like_a_whole_one_is_no_event() {
    let text = events(&vec![chunk("five."); 3], "\n");
    let begun = r#"data: {"choices":[{"delta":{"content":"text "#;
    let body = format!("{text}{begun}{}\n\n", chunk("longer than others"));
    let cut = text.len() + begun.len();
    let mut meter = Meter::new(&head(SSE));
    meter.push(&body.as_bytes()[..cut]);
    meter.push(&body.as_bytes()[cut..]);
    meter.finish();
    assert_eq!(
        meter.output_bytes(),
        read(SSE, body.as_bytes()).output_bytes()
    );
}

#[test]
fn end_without_text_is_not_sufficient() {
    let text = events(&vec![chunk("five."); 100], "\n");
    let finish = r#"data: {"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
    let long = format!("data: {}\n\n", "x".repeat(Meter::TAIL_BYTES));
    for end in [
        format!(
            "{REPORT}\n\n: {}\n\n{DONE}\n\n",
            "x".repeat(Meter::TAIL_BYTES)
        ),
        format!("{REPORT}\n\n{}", ": ping\n\n".repeat(1_000)),
        format!("{REPORT}\n\n{}", format!("{finish}\n\n").repeat(100)),
        format!("{REPORT}\n\n{long}"),
        format!(
            "{REPORT}\n\n{DONE}\n\n{}",
            "\n".repeat(2 * Meter::TAIL_BYTES)
        ),
    ] {
        let mut meter = begun();
        let piece = format!("{text}{end}");
        assert!(!push(&mut meter, piece.as_bytes()), "{end}");
        meter.finish();
        assert_eq!(tokens(&meter), Some((3, 4, 7)), "{end}");
    }
}

#[test]
fn stream_that_reports_all_along_is_not_skipped() {
    let report = r#"],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#;
    let mut meter = begun();
    assert!(meter.may_skip());
    meter.push(format!("{}\n\n", chunk("five.").replace("]}", report)).as_bytes());
    assert!(!meter.may_skip());
    let tail = events(&vec![chunk("five."); 100], "\n");
    assert!(!meter.push_tail(10_000, tail.as_bytes()));
}

#[test]
fn event_being_read_is_skipped_with_its_rest() {
    let mut meter = begun();
    let output_bytes = meter.output_bytes();
    let next = chunk("much longer than the others");
    let (begun, rest) = next.split_at(next.len() - 10);
    meter.push(begun.as_bytes());
    let piece = format!("{rest}\n\n{}", events(&vec![chunk("five."); 100], "\n"));
    assert!(push(&mut meter, piece.as_bytes()));
    meter.finish();
    // Its length stands for its text.
    let expected = output_bytes + 5 * 100 + 7;
    assert!(
        meter.output_bytes().abs_diff(expected) < 5,
        "{}",
        meter.output_bytes()
    );
}

proptest! {
    #[test]
    fn tail_result_equals_whole_pieces(
        texts in prop::collection::vec("[a-z \"\\\\\u{e9}]{0,12}|usage", 0..300),
        null in select(vec!["", r#","usage":null"#]),
        last in select(vec![vec![], vec![REPORT], vec![DONE], vec![REPORT, DONE], vec![REPORT, ": ping", DONE]]),
        end in select(vec!["\n", "\r\n", "\r"]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let chunk = |text: &String| {
            let text = serde_json::to_string(text).unwrap();
            chunk(&text[1..text.len() - 1]).replace("]}", &format!("]{null}}}"))
        };
        let mut lines: Vec<String> = texts.iter().map(chunk).collect();
        lines.extend(last.into_iter().map(str::to_owned));
        let body = events(&lines, end);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.push(body.len());
        cuts.sort_unstable();
        let mut meter = Meter::new(&head(SSE));
        let mut from = 0;
        for cut in cuts {
            push(&mut meter, &body.as_bytes()[from..cut]);
            from = cut;
        }
        meter.finish();
        let whole = read(SSE, body.as_bytes());
        let outcome = |meter: &Meter| (
            meter.usage(),
            meter.model().map(str::to_owned),
            meter.is_likely_final(),
            meter.is_completion(),
            meter.raw_usage().map(<[u8]>::to_vec),
        );
        prop_assert_eq!(outcome(&meter), outcome(&whole));
    }
}
