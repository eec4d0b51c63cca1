//! Tests of suggestions.

use proptest::prelude::*;

use super::closest;

fn suggest(name: &str) -> Option<&'static str> {
    closest(name, ["auth", "request", "source", "metadata"])
}

#[test]
fn typing_errors_get_the_intended_name() {
    for (written, meant) in [
        ("atuh", "auth"),
        ("aut", "auth"),
        ("Auth", "auth"),
        ("reqeust", "request"),
        ("requests", "request"),
        ("metdata", "metadata"),
    ] {
        assert_eq!(suggest(written), Some(meant), "{written}");
    }
}

#[test]
fn dissimilar_names_get_no_suggestion() {
    for written in ["", "x", "tokens", "identity", &"a".repeat(1000)] {
        assert_eq!(suggest(written), None, "{written}");
    }
}

proptest! {
    #[test]
    fn one_changed_character_gets_the_intended_name(at in 0_usize..8, with in "[x-z]") {
        let mut name: Vec<char> = "metadata".chars().collect();
        name[at] = with.chars().next().unwrap();
        let name: String = name.into_iter().collect();
        prop_assert_eq!(suggest(&name), Some("metadata"));
    }
}

#[test]
fn messages_suggest_a_name_or_list_all() {
    let known = ["local", "limitador", "envoy-rls"];
    assert_eq!(super::instead("locla", &known), "did you mean \"local\"?");
    assert_eq!(
        super::instead("redis", &known),
        "expected \"local\", \"limitador\" or \"envoy-rls\""
    );
    assert_eq!(super::instead("redis", &["local"]), "expected \"local\"");
    assert_eq!(super::did_you_mean("redis", known), "");
}
