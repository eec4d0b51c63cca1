//! The boundaries compared with the events that a piece is made of.

use proptest::prelude::*;
use proptest::sample::select;

use super::{after_last_blank_line, first_event_length, split_last_event};

/// Returns an event of one to three lines, with the line endings of the stream.
fn event(ending: &'static str) -> impl Strategy<Value = String> {
    let line = select(vec!["data: {}", ": ping", "event: x", "a"]);
    prop::collection::vec(line, 1..4).prop_map(move |lines| lines.join(ending))
}

/// Returns complete events, each with the blank line that ends it, and the beginning of the next.
fn piece() -> impl Strategy<Value = (Vec<String>, String)> {
    select(vec!["\n", "\r\n"]).prop_flat_map(|ending| {
        let complete = event(ending).prop_map(move |event| format!("{event}{ending}{ending}"));
        let begun = prop_oneof![
            Just(String::new()),
            event(ending),
            event(ending).prop_map(move |event| format!("{event}{ending}")),
        ];
        (prop::collection::vec(complete, 0..5), begun)
    })
}

proptest! {
    #[test]
    fn piece_is_split_between_its_events((events, begun) in piece()) {
        let text = events.concat() + &begun;
        let bytes = text.as_bytes();
        let first = events.first().map_or(begun.len(), String::len);
        prop_assert_eq!(first_event_length(bytes), first);
        prop_assert_eq!(after_last_blank_line(bytes), begun.as_bytes());
        let split = events.split_last().map(|(last, before)| {
            (before.concat().into_bytes(), format!("{last}{begun}").into_bytes())
        });
        let found = split_last_event(bytes);
        prop_assert_eq!(found.map(|(before, last)| (before.to_vec(), last.to_vec())), split);
    }
}

#[test]
fn piece_without_a_complete_event_is_not_split() {
    for piece in [
        "",
        "\n",
        "\n\n",
        "\r\n\r\n",
        "data: {}",
        "data: {}\ndata: {}\n",
    ] {
        assert_eq!(split_last_event(piece.as_bytes()), None, "{piece:?}");
    }
}
