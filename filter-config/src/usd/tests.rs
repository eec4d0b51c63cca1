//! Tests of amounts of money.

use proptest::prelude::*;

use super::{Usd, UsdError};

#[test]
fn decimal_numbers_parse_exactly() {
    for (text, billionths, displayed) in [
        ("0", 0, "0.00"),
        ("100", 100_000_000_000, "100.00"),
        ("100.0", 100_000_000_000, "100.00"),
        ("78.5", 78_500_000_000, "78.50"),
        ("0.075", 75_000_000, "0.075"),
        ("0.000000001", 1, "0.000000001"),
        ("18446744073.709551615", u64::MAX, "18446744073.709551615"),
    ] {
        assert_eq!(text.parse(), Ok(Usd(billionths)), "{text}");
        assert_eq!(Usd(billionths).to_string(), displayed);
    }
}

#[test]
fn other_texts_are_rejected() {
    for text in [
        "",
        ".",
        "1.",
        ".5",
        "-1",
        "+1",
        " 1",
        "1e3",
        "1,5",
        "1.0000000001",
        "18446744073.709551616",
        "$1",
        "١",
    ] {
        assert_eq!(text.parse::<Usd>(), Err(UsdError), "{text:?}");
    }
}

proptest! {
    #[test]
    fn displayed_amounts_parse_to_the_same(billionths in any::<u64>()) {
        prop_assert_eq!(Usd(billionths).to_string().parse(), Ok(Usd(billionths)));
    }

    #[test]
    fn any_text_parses_without_panic(text in "[0-9.]{0,24}") {
        let _ = text.parse::<Usd>();
    }
}
