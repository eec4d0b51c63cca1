//! Tests of the price of a model.

use proptest::prelude::*;

use super::{Pricing, Unpriced, matches, read};
use crate::error::ValidationErrors;
use crate::json;
use crate::path::Path;
use crate::usd::Usd;

fn pricing(document: &str) -> Pricing {
    let mut errors = ValidationErrors::default();
    let document = json::parse(document.as_bytes(), &mut errors).unwrap();
    read(&document, None, &Path::Root, &mut errors).unwrap_or_else(|_| panic!("{errors}"))
}

#[test]
fn names_precede_patterns_and_longer_patterns_precede_shorter() {
    let pricing = pricing(
        r#"{
          "gpt-4*": { "input": 1, "output": 1 },
          "gpt-4o": { "input": 2, "output": 2 },
          "gpt-4o-*": { "input": 3, "output": 3 },
          "*haiku*": { "input": 4, "output": 4 }
        }"#,
    );
    assert_eq!(pricing.unpriced, Unpriced::Reject);
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
fn special_tokens_default_to_input_and_output_prices() {
    let pricing = pricing(r#"{ "m": { "input": 2.5, "cachedInput": "1.25", "output": 10 } }"#);
    let price = pricing.of("m").unwrap();
    assert_eq!(price.cached_input, Usd(1_250_000_000));
    assert_eq!(price.cache_write, price.input);
    assert_eq!(price.reasoning, price.output);
}

proptest! {
    #[test]
    fn patterns_match_like_a_naive_search(pattern in "[ab*]{0,8}", text in "[ab]{0,12}") {
        prop_assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), naive(&pattern, &text));
    }
}

/// The definition of a match: the text has the parts between the stars, in order.
fn naive(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text
            .strip_prefix(start)
            .is_some_and(|text| (0..=text.len()).any(|at| naive(rest, &text[at..]))),
    }
}
