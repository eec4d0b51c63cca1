//! The window of a rate: a Go duration, also with days and weeks.

use std::fmt;
use std::ops::RangeInclusive;

use thiserror::Error;

use crate::bounds;
use crate::fault::{FaultKind, Faults};
use crate::fields;
use crate::json::Json;
use crate::path::Path;

/// The length of the window of a rate. It displays as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    nanos: u64,
    text: String,
}

/// Why a text is no window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WindowError {
    /// Not a duration in the notation of Go, days and weeks added.
    #[error(
        "not a duration, expected numbers with units such as \"30s\", \"1h30m\", \"500ms\", \"7d\" or \"2w\""
    )]
    Unparsable,
    /// A number without its unit, such as `60`.
    #[error("a number without a unit, expected one of ns, us, ms, s, m, h, d, w")]
    NoUnit,
    /// A unit that there is not.
    #[error("unknown unit, expected one of ns, us, ms, s, m, h, d, w")]
    UnknownUnit,
    /// A window of no length.
    #[error("a window must be longer than zero")]
    Zero,
    /// A negative duration.
    #[error("a window must not be negative")]
    Negative,
    /// Longer than [`bounds::WINDOW_NANOS`].
    #[error("a window must not be longer than a year (366d)")]
    TooLong,
}

/// Units and their length in nanoseconds. Both signs for micro are in use.
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

/// Bytes of the longest text that is read: longer ones can only be noise.
const LONGEST: usize = 64;

// === impl Window ===

impl Window {
    /// The length in nanoseconds: more than zero, at most [`bounds::WINDOW_NANOS`].
    #[must_use]
    pub fn as_nanos(&self) -> u64 {
        self.nanos
    }

    /// Whether the UTC calendar has windows of this length: those that divide a day, a week (7 days)
    /// and a month, for which 30 days stand however long it is.
    #[must_use]
    pub fn follows_calendar(&self) -> bool {
        const DAY: u64 = 86_400_000_000_000;
        const WEEK: u64 = 7 * DAY;
        const MONTH: u64 = 30 * DAY;
        DAY.is_multiple_of(self.nanos) || matches!(self.nanos, WEEK | MONTH)
    }

    /// The length as it was written, such as `1h30m`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl std::str::FromStr for Window {
    type Err = WindowError;

    /// Parses a duration as Go's `time.ParseDuration` does (decimal numbers, each with a unit, such
    /// as `1h30m` or `1.5s`), with the further units `d` (24 hours) and `w` (7 days).
    fn from_str(text: &str) -> Result<Self, WindowError> {
        if text.len() > LONGEST {
            return Err(WindowError::Unparsable);
        }
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest.is_empty() {
            return Err(WindowError::Unparsable);
        }
        // Go: a zero needs no unit.
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

/// A number and its unit at the start of `text`: its nanoseconds, rounded down, and what follows.
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
    // Each digit after the point is worth a tenth of the one before it.
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

/// Reads a duration that is not a window, in nanoseconds. `expected` tells users what is `within`
/// bounds; `inner` takes it out of what may stand around it.
pub(crate) fn nanos(
    json: &Json,
    within: &RangeInclusive<u64>,
    expected: &str,
    inner: impl Fn(&str) -> &str,
    path: &Path<'_>,
    faults: &mut Faults,
) -> Option<u64> {
    let Json::String(text) = json else {
        fields::expected(json, expected, path, faults);
        return None;
    };
    match inner(text)
        .parse()
        .map(|duration: Window| duration.as_nanos())
    {
        Ok(nanos) if within.contains(&nanos) => Some(nanos),
        Err(error @ (WindowError::NoUnit | WindowError::UnknownUnit)) => {
            let found = json.found();
            faults.push(path, FaultKind::Window { error, found });
            None
        }
        _ => {
            fields::expected(json, expected, path, faults);
            None
        }
    }
}

#[cfg(test)]
mod tests;
