//! Which price a model has.

use proptest::prelude::*;

use super::{Pricing, Unpriced, fits, read};
use crate::fault::Faults;
use crate::json;
use crate::path::Path;
use crate::usd::Usd;

fn pricing(document: &str) -> Pricing {
    let mut faults = Faults::default();
    let document = json::parse(document.as_bytes(), &mut faults).unwrap();
    read(&document, None, &Path::Root, &mut faults).unwrap_or_else(|| panic!("{faults}"))
}

#[test]
fn a_name_goes_before_patterns_and_the_longest_of_them_first() {
    let pricing = pricing(
        r#"{
          "gpt-4*": { "input": 1, "output": 1 },
          "gpt-4o": { "input": 2, "output": 2 },
          "gpt-4o-*": { "input": 3, "output": 3 },
          "*haiku*": { "input": 4, "output": 4 }
        }"#,
    );
    assert_eq!(pricing.unpriced, Unpriced::Refuse);
    for (model, dollars) in [
        ("gpt-4o", Some(2)),
        ("gpt-4o-mini", Some(3)),
        ("gpt-4-turbo", Some(1)),
        ("us.anthropic.claude-3-haiku-20240307-v1:0", Some(4)),
        ("GPT-4o", None),
        ("", None),
    ] {
        let price = pricing.of(model).map(|price| price.input);
        let expected = dollars.map(|dollars| Usd(dollars * 1_000_000_000));
        assert_eq!(price, expected, "{model}");
    }
    assert_eq!(pricing.highest().unwrap().output, Usd(4_000_000_000));
}

#[test]
fn kinds_that_have_no_price_have_that_of_what_they_are_a_part_of() {
    let pricing = pricing(r#"{ "m": { "input": 2.5, "cachedInput": "1.25", "output": 10 } }"#);
    let price = pricing.of("m").unwrap();
    assert_eq!(price.cached_input, Usd(1_250_000_000));
    assert_eq!(price.cache_write, price.input);
    assert_eq!(price.reasoning, price.output);
}

proptest! {
    #[test]
    fn a_pattern_fits_what_a_plain_search_finds(pattern in "[ab*]{0,8}", text in "[ab]{0,12}") {
        prop_assert_eq!(fits(pattern.as_bytes(), text.as_bytes()), plain(&pattern, &text));
    }
}

/// The definition: what is between the stars follows each other in the text.
fn plain(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text
            .strip_prefix(start)
            .is_some_and(|text| (0..=text.len()).any(|at| plain(rest, &text[at..]))),
    }
}
