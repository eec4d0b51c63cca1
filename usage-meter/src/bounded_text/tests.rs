use super::{MAX_IDLE_BYTES, PassingText, bounded_text, clear};
use proptest::prelude::*;

#[test]
fn long_texts_keep_beginning_and_differ() {
    let long = "m".repeat(300);
    let [one, other] =
        ["a", "b"].map(|end| bounded_text(&format!("{long}{end}"), 160).into_owned());
    assert_ne!(one, other);
    assert!(
        one.starts_with(&"m".repeat(160)) && one.len() == 160 + 33,
        "{one}"
    );
    assert_ne!(
        bounded_text(&one, 160),
        one,
        "no text is the replacement of another"
    );
}

#[test]
fn cut_falls_between_characters() {
    let text = "é".repeat(100);
    let cut = bounded_text(&text, 161);
    assert!(cut.starts_with(&"é".repeat(80)), "{cut}");
    assert_eq!(cut.as_bytes()[160], b'~');
}

#[test]
fn memory_of_idle_buffers_is_bounded() {
    for (bytes, kept) in [
        (0, 0),
        (100, 100),
        (MAX_IDLE_BYTES, MAX_IDLE_BYTES),
        (MAX_IDLE_BYTES + 1, 0),
        (10_000, 0),
    ] {
        let mut buffer = Vec::with_capacity(bytes);
        buffer.resize(bytes, b'a');
        clear(&mut buffer);
        assert_eq!((buffer.len(), buffer.capacity()), (0, kept), "{bytes}");
    }
}

proptest! {
    #[test]
    fn pieces_read_like_whole_text(
        text in "[a-z]{0,40}|[a-z]{1000,1100}",
        size in 1_usize..700,
    ) {
        let mut passing = PassingText::default();
        for piece in text.as_bytes().chunks(size) {
            passing.push(piece);
        }
        let beginning = String::from_utf8(passing.beginning().to_vec()).unwrap();
        prop_assert_eq!(passing.finish(&beginning, 16), bounded_text(&text, 16));
    }

    #[test]
    fn short_texts_stay(text in ".{0,40}") {
        prop_assert_eq!(bounded_text(&text, 160), text.as_str());
    }
}
