//! Money is read and written exactly.

use proptest::prelude::*;

use super::{Usd, UsdError};

#[test]
fn amounts_are_decimal_numbers() {
    for (text, billionths, written) in [
        ("0", 0, "0.00"),
        ("100", 100_000_000_000, "100.00"),
        ("100.0", 100_000_000_000, "100.00"),
        ("78.5", 78_500_000_000, "78.50"),
        ("0.075", 75_000_000, "0.075"),
        ("0.000000001", 1, "0.000000001"),
        ("18446744073.709551615", u64::MAX, "18446744073.709551615"),
    ] {
        assert_eq!(text.parse(), Ok(Usd(billionths)), "{text}");
        assert_eq!(Usd(billionths).to_string(), written);
    }
}

#[test]
fn anything_else_is_none() {
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
    fn what_is_written_is_read_as_the_same(billionths in any::<u64>()) {
        prop_assert_eq!(Usd(billionths).to_string().parse(), Ok(Usd(billionths)));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[0-9.]{0,24}") {
        let _ = text.parse::<Usd>();
    }
}
