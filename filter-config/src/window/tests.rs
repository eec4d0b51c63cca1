//! Tests of windows.

use std::str::FromStr as _;

use proptest::prelude::*;

use super::{Window, WindowError};
use crate::bounds;

const SECOND: u64 = 1_000_000_000;

fn nanos(text: &str) -> Result<u64, WindowError> {
    Window::from_str(text).map(|window| window.as_nanos())
}

#[test]
fn go_durations_with_days_and_weeks_parse() {
    for (text, expected) in [
        ("1ns", 1),
        ("1us", 1_000),
        ("1µs", 1_000),
        ("1μs", 1_000),
        ("500ms", SECOND / 2),
        ("1s", SECOND),
        ("+1s", SECOND),
        ("1m", 60 * SECOND),
        ("60s", 60 * SECOND),
        ("1h30m", 5400 * SECOND),
        ("1m1h", 3660 * SECOND),
        ("1.5h", 5400 * SECOND),
        (".5s", SECOND / 2),
        ("1.s", SECOND),
        ("0.1s", SECOND / 10),
        ("0.3333333333333333333h", 1_199_999_999_999),
        ("0s1m", 60 * SECOND),
        ("1d", 86_400 * SECOND),
        ("1w", 604_800 * SECOND),
        ("366d", bounds::WINDOW_NANOS),
    ] {
        assert_eq!(nanos(text), Ok(expected), "{text}");
    }
}

#[test]
fn invalid_durations_are_rejected_with_a_reason() {
    for (text, expected) in [
        ("", WindowError::Unparsable),
        ("-", WindowError::Unparsable),
        ("m", WindowError::Unparsable),
        (".s", WindowError::Unparsable),
        ("1m ", WindowError::UnknownUnit),
        (" 1m", WindowError::Unparsable),
        ("one minute", WindowError::Unparsable),
        ("60", WindowError::NoUnit),
        ("1h30", WindowError::NoUnit),
        ("1y", WindowError::UnknownUnit),
        ("1M", WindowError::UnknownUnit),
        ("1m-1s", WindowError::UnknownUnit),
        ("0", WindowError::Zero),
        ("0s", WindowError::Zero),
        ("-0s", WindowError::Zero),
        ("0.4ns", WindowError::Zero),
        ("-1m", WindowError::Negative),
        ("366d1ns", WindowError::TooLong),
        ("99999999999999999999h", WindowError::TooLong),
        (
            "18446744073709551615ns18446744073709551615ns",
            WindowError::TooLong,
        ),
    ] {
        assert_eq!(nanos(text), Err(expected), "{text}");
    }
    assert_eq!(nanos(&"1s".repeat(1000)), Err(WindowError::Unparsable));
}

#[test]
fn calendar_periods_are_day_fractions_weeks_and_months() {
    for (text, expected) in [
        ("1s", true),
        ("1m", true),
        ("15m", true),
        ("0.25h", true),
        ("1h", true),
        ("8h", true),
        ("24h", true),
        ("1d", true),
        ("7d", true),
        ("1w", true),
        ("30d", true),
        ("720h", true),
        ("7s", false),
        ("7m", false),
        ("5h", false),
        ("36h", false),
        ("2d", false),
        ("2w", false),
        ("31d", false),
        ("365d", false),
    ] {
        let window = Window::from_str(text).unwrap();
        assert_eq!(window.follows_calendar(), expected, "{text}");
    }
}

proptest! {
    #[test]
    fn windows_sum_their_parts_and_display_as_written(
        d in 0_u64..300, h in 0_u64..24, m in 0_u64..1000, s in 0_u64..100_000, ms in 1_u64..100_000,
    ) {
        let text = format!("{d}d{h}h{m}m{s}s{ms}ms");
        let window = Window::from_str(&text).unwrap();
        let seconds = d * 86_400 + h * 3600 + m * 60 + s;
        prop_assert_eq!(window.as_nanos(), seconds * SECOND + ms * 1_000_000);
        prop_assert_eq!(window.to_string(), text);
    }

    #[test]
    fn any_text_parses_within_bounds(text in "\\PC*") {
        if let Ok(nanos) = nanos(&text) {
            prop_assert!((1..=bounds::WINDOW_NANOS).contains(&nanos));
        }
    }

    #[test]
    fn any_duration_like_text_parses_within_bounds(text in "[-+]?([0-9.]{0,30}(ns|us|ms|s|m|h|d|w)?){0,5}") {
        if let Ok(nanos) = nanos(&text) {
            prop_assert!((1..=bounds::WINDOW_NANOS).contains(&nanos));
        }
    }
}

#[test]
fn durations_in_words_have_a_notation() {
    for (text, expected) in [
        ("1 minute", Some("1m")),
        ("90 Seconds", Some("90s")),
        ("1 h", Some("1h")),
        ("day", Some("1d")),
        ("1M", None),
        ("2 moons", None),
        ("0 hours", None),
        ("", None),
    ] {
        assert_eq!(super::spelled(text).as_deref(), expected, "{text}");
    }
}
