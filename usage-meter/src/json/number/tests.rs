use proptest::prelude::*;

use super::tokens;

#[test]
fn every_notation_is_parsed() {
    for (text, expected) in [
        ("0", Some(0)),
        ("12", Some(12)),
        ("12.0", Some(12)),
        ("1.2e1", Some(12)),
        ("1e2", Some(100)),
        ("1200E-2", Some(12)),
        ("0.1e+2", Some(10)),
        (" 12 ", Some(12)),
        ("0.2", Some(1)),
        ("12.5", Some(13)),
        ("1e-9", Some(1)),
        ("0e400", Some(0)),
        ("-1", None),
        ("-0", Some(0)),
        ("-1e400", None),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", Some(u64::MAX)),
        ("99999999999999999999", Some(u64::MAX)),
        ("1e400", Some(u64::MAX)),
        ("1e99999999999999999999", Some(u64::MAX)),
        ("", None),
        ("-", None),
        (".", None),
        (".5", None),
        ("1.2.3", None),
        ("1e", None),
        ("1ex", None),
        ("1e5x", None),
        ("e5", None),
        ("null", None),
        ("true", None),
        ("NaN", None),
        ("Infinity", None),
        ("12 tokens", None),
    ] {
        assert_eq!(tokens(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn many_digits_saturate() {
    let mut digits = "9".repeat(100_000);
    assert_eq!(tokens(digits.as_bytes()), Some(u64::MAX));
    digits.push_str("e-100000");
    assert_eq!(tokens(digits.as_bytes()), Some(1));
}

#[test]
fn many_digits_are_rounded_up() {
    for zeros in [0, 10, 30, 36, 37, 38, 60, 1_000] {
        let zeros = "0".repeat(zeros);
        for (text, expected) in [
            (format!("12.{zeros}0"), 12),
            (format!("12.{zeros}1"), 13),
            (format!("0.{zeros}1"), 1),
            (format!("12{zeros}e-{}", zeros.len()), 12),
            (format!("12{zeros}1e-{}", zeros.len() + 1), 13),
            (format!("12{zeros}.0e-{}", zeros.len()), 12),
        ] {
            assert_eq!(tokens(text.as_bytes()), Some(expected), "{text}");
        }
    }
}

proptest! {
    #[test]
    fn integers_are_exact(value: u64) {
        prop_assert_eq!(tokens(value.to_string().as_bytes()), Some(value));
    }

    #[test]
    fn floats_are_rounded_up(value in 0.0_f64..1e15) {
        let text = format!("{value:?}");
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole, positive and small"
        )]
        let expected = value.ceil() as u64;
        prop_assert_eq!(tokens(text.as_bytes()), Some(expected));
    }

    #[test]
    fn any_bytes_do_not_panic(text: Vec<u8>) {
        let _ = tokens(&text);
    }
}
