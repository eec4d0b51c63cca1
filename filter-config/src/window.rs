//! Windows of rates: Go durations, extended by days and weeks.

#[cfg(test)]
mod tests;

use std::fmt;

use thiserror::Error;

use crate::bounds;

/// The length of the window of a rate. Displays as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    nanos: u64,
    text: String,
}

/// Why a text is not a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("invalid duration, expected {}", self.expected())]
pub enum WindowError {
    /// Not a duration in Go's notation, extended by days and weeks.
    Unparsable,
    /// A number without its unit, such as `60`.
    NoUnit,
    /// An unknown unit.
    UnknownUnit,
    /// A duration of zero.
    Zero,
    /// A negative duration.
    Negative,
    /// Longer than [`bounds::WINDOW_NANOS`].
    TooLong,
}

/// Units and their length in nanoseconds. The prefix micro has two code points in use.
const UNITS: [(&str, u64); 10] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
];

/// The words for lengths, each with its unit.
const WORDS: [(&[&str], &str); 5] = [
    (&["s", "sec", "secs", "second", "seconds"], "s"),
    (&["m", "min", "mins", "minute", "minutes"], "m"),
    (&["h", "hr", "hrs", "hour", "hours"], "h"),
    (&["d", "day", "days"], "d"),
    (&["w", "week", "weeks"], "w"),
];

/// Bytes of the longest text that is parsed.
const MAX_BYTES: usize = 64;

// === impl Window ===

impl Window {
    /// Returns the length in nanoseconds: more than zero, at most [`bounds::WINDOW_NANOS`].
    #[must_use]
    pub fn as_nanos(&self) -> u64 {
        self.nanos
    }

    /// Returns whether the UTC calendar has periods of this length: fractions of a day, a week (7 days), and a month,
    /// which is written as 30 days whatever its length.
    #[must_use]
    pub fn follows_calendar(&self) -> bool {
        const DAY: u64 = 86_400_000_000_000;
        const WEEK: u64 = 7 * DAY;
        const MONTH: u64 = 30 * DAY;
        DAY.is_multiple_of(self.nanos) || matches!(self.nanos, WEEK | MONTH)
    }

    /// Returns the length as it was written, such as `1h30m`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl std::str::FromStr for Window {
    type Err = WindowError;

    /// Parses a duration as Go's `time.ParseDuration` does: decimal numbers, each with a unit, such as `1h30m` or
    /// `1.5s`. Further units are `d` (24 hours) and `w` (7 days).
    fn from_str(text: &str) -> Result<Self, WindowError> {
        if text.len() > MAX_BYTES {
            return Err(WindowError::Unparsable);
        }
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest.is_empty() {
            return Err(WindowError::Unparsable);
        }
        // As in Go, zero needs no unit.
        let mut nanos = 0_u64;
        if rest != "0" {
            while !rest.is_empty() {
                let (part, after) = component(rest)?;
                nanos = nanos.checked_add(part).ok_or(WindowError::TooLong)?;
                rest = after;
            }
        }
        match nanos {
            0 => Err(WindowError::Zero),
            _ if negative => Err(WindowError::Negative),
            _ if nanos > bounds::WINDOW_NANOS => Err(WindowError::TooLong),
            _ => Ok(Window {
                nanos,
                text: text.to_owned(),
            }),
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

// === impl WindowError ===

impl WindowError {
    /// Returns what a message says is expected.
    pub(crate) const fn expected(self) -> &'static str {
        match self {
            Self::Unparsable | Self::UnknownUnit => {
                "e.g. \"60s\", \"1m\" or \"24h\" (units: ns, us, ms, s, m, h, d, w)"
            }
            Self::NoUnit => {
                "a unit after each number, e.g. \"60s\" (units: ns, us, ms, s, m, h, d, w)"
            }
            Self::Zero | Self::Negative => "more than zero",
            Self::TooLong => {
                "at most a year, \"366d\" or as Kuadrant writes it \"8784h\"; no window is longer"
            }
        }
    }
}

/// Returns the duration that a text spells out in words: `1m` for `1 minute`.
pub(crate) fn spelled(text: &str) -> Option<String> {
    let (number, rest) = digits(text.trim());
    let word = rest.trim_start();
    // `M` can be meant for a month.
    let word = if word.len() > 1 {
        word.to_lowercase()
    } else {
        word.to_owned()
    };
    let number = if number.is_empty() { "1" } else { number };
    let (_, unit) = WORDS
        .iter()
        .find(|(words, _)| words.contains(&word.as_str()))?;
    let duration = format!("{number}{unit}");
    let is_valid = duration.parse::<Window>().is_ok();
    is_valid.then_some(duration)
}

/// Parses a number and its unit at the start of `text`. Returns its nanoseconds, rounded down, and the rest.
fn component(text: &str) -> Result<(u64, &str), WindowError> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(WindowError::Unparsable);
    }
    let end = rest
        .find(|c: char| c == '.' || c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at_checked(end).ok_or(WindowError::Unparsable)?;
    if unit.is_empty() {
        return Err(WindowError::NoUnit);
    }
    let (_, length) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or(WindowError::UnknownUnit)?;
    let whole = whole
        .bytes()
        .try_fold(0_u64, |value, digit| {
            value.checked_mul(10)?.checked_add(value_of(digit))
        })
        .and_then(|value| value.checked_mul(*length))
        .ok_or(WindowError::TooLong)?;
    // Each decimal place is worth a tenth of the one before it.
    let (fraction, _) = fraction.bytes().fold(
        (0_u128, u128::from(*length) * 1_000_000_000_000_000_000),
        |(sum, worth), digit| {
            let worth = worth / 10;
            (
                sum.saturating_add(worth.saturating_mul(u128::from(value_of(digit)))),
                worth,
            )
        },
    );
    let fraction =
        u64::try_from(fraction / 1_000_000_000_000_000_000).map_err(|_| WindowError::TooLong)?;
    let nanos = whole.checked_add(fraction).ok_or(WindowError::TooLong)?;
    Ok((nanos, rest))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn value_of(digit: u8) -> u64 {
    u64::from(digit.saturating_sub(b'0'))
}
