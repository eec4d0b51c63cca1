//! Tests of suggestions.

use proptest::prelude::*;

use super::closest;

fn suggest(name: &str) -> Option<String> {
    closest(name, ["auth", "request", "source", "metadata"])
}

#[test]
fn a_slip_of_the_hand_is_recognised() {
    for (written, meant) in [
        ("atuh", "auth"),
        ("aut", "auth"),
        ("Auth", "auth"),
        ("reqeust", "request"),
        ("requests", "request"),
        ("metdata", "metadata"),
    ] {
        assert_eq!(suggest(written).as_deref(), Some(meant), "{written}");
    }
}

#[test]
fn what_is_like_nothing_gets_no_suggestion() {
    for written in ["", "x", "tokens", "identity", &"a".repeat(1000)] {
        assert_eq!(suggest(written), None, "{written}");
    }
}

proptest! {
    #[test]
    fn one_changed_character_of_a_long_name_is_recognised(at in 0_usize..8, with in "[x-z]") {
        let mut name: Vec<char> = "metadata".chars().collect();
        name[at] = with.chars().next().unwrap();
        prop_assert_eq!(suggest(&name.into_iter().collect::<String>()), Some("metadata".to_owned()));
    }
}
