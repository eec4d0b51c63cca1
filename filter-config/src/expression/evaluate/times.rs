//! Times and durations: their parts and their texts.

use cel::ExecutionError;
use chrono::{DateTime, Datelike, FixedOffset, TimeDelta, Timelike};

use super::scalar::Scalar;
use crate::expression::program::Part;

const NANOS_OF_MILLISECOND: i32 = 1_000_000;
const NANOS_IN_SECOND: u32 = 1_000_000_000;
const NANOS_OF_SECOND: f64 = 1e9;

/// Units of durations in nanoseconds, a longer name before its prefix.
const UNITS: [(&str, f64); 6] = [
    ("ms", 1e6),
    ("us", 1e3),
    ("ns", 1.0),
    ("h", 3600.0 * NANOS_OF_SECOND),
    ("m", 60.0 * NANOS_OF_SECOND),
    ("s", NANOS_OF_SECOND),
];

/// Returns a part of a time in a zone, or of a duration; `None` if the value has no such part.
pub(super) fn part(
    part: Part,
    of: &Scalar<'_>,
    zone: Option<&str>,
) -> Option<Result<i64, ExecutionError>> {
    match (of, zone) {
        (Scalar::Time(time), None) => Some(Ok(part_of_time(part, time))),
        (Scalar::Time(time), Some(zone)) => Some(match offset(zone) {
            Some(offset) => Ok(part_of_time(part, &time.with_timezone(&offset))),
            None => Err(ExecutionError::function_error(
                "timezone",
                "unknown time zone",
            )),
        }),
        (Scalar::Duration(duration), None) => part_of_duration(part, duration).map(Ok),
        _ => None,
    }
}

fn part_of_time(part: Part, time: &DateTime<FixedOffset>) -> i64 {
    match part {
        Part::Date => time.day().into(),
        Part::DayOfMonth => time.day0().into(),
        Part::DayOfWeek => time.weekday().num_days_from_sunday().into(),
        Part::DayOfYear => time.ordinal0().into(),
        Part::FullYear => time.year().into(),
        Part::Hours => time.hour().into(),
        Part::Milliseconds => time.timestamp_subsec_millis().into(),
        Part::Minutes => time.minute().into(),
        Part::Month => time.month0().into(),
        Part::Seconds => time.second().into(),
    }
}

fn part_of_duration(part: Part, duration: &TimeDelta) -> Option<i64> {
    match part {
        Part::Hours => Some(duration.num_hours()),
        // Those beyond its whole seconds, by the specification.
        Part::Milliseconds => Some((duration.subsec_nanos() / NANOS_OF_MILLISECOND).into()),
        Part::Minutes => Some(duration.num_minutes()),
        Part::Seconds => Some(duration.num_seconds()),
        _ => None,
    }
}

/// Returns the offset of a time zone. The names of zones would be a third of the module.
fn offset(zone: &str) -> Option<FixedOffset> {
    let Some((hours, minutes)) = zone.split_once(':') else {
        return matches!(zone, "" | "UTC").then(|| FixedOffset::east_opt(0))?;
    };
    let count: i32 = hours.parse().ok()?;
    let rest: i32 = minutes.parse().ok()?;
    if !(-23..=23).contains(&count) || !(0..=59).contains(&rest) {
        return None;
    }
    let rest = if hours.starts_with('-') {
        rest.checked_neg()?
    } else {
        rest
    };
    let minutes = count.checked_mul(60)?.checked_add(rest)?;
    FixedOffset::east_opt(minutes.checked_mul(60)?)
}

/// Returns a time as text, in UTC.
pub(super) fn print(time: &DateTime<FixedOffset>) -> String {
    let utc = time.naive_utc();
    // A leap second is the second before with more than a second of nanoseconds.
    let nanos = utc.nanosecond();
    let fraction = fraction(nanos % NANOS_IN_SECOND);
    let second = utc.second().saturating_add(nanos / NANOS_IN_SECOND);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{second:02}{fraction}Z",
        utc.year(),
        utc.month(),
        utc.day(),
        utc.hour(),
        utc.minute(),
    )
}

/// Returns a duration as text, in seconds.
pub(super) fn print_duration(duration: &TimeDelta) -> String {
    let (seconds, nanos) = (duration.num_seconds(), duration.subsec_nanos());
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    let fraction = fraction(nanos.unsigned_abs());
    format!("{sign}{}{fraction}s", seconds.unsigned_abs())
}

/// Returns the digits after the point, with it; empty if there are none.
fn fraction(nanos: u32) -> String {
    let digits = format!(".{nanos:09}");
    digits
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

/// Parses a duration such as `1h30m` or `-1.5s`, as the `cel` crate does: each number can have a sign, and what is
/// after the last unit is ignored.
pub(super) fn parse_duration(text: &str) -> Option<TimeDelta> {
    let (text, is_negative) = match text.strip_prefix('-') {
        Some(text) => (text, true),
        None => (text, false),
    };
    if text == "0" {
        return Some(TimeDelta::zero());
    }
    let mut rest = text;
    let mut sum: Option<i128> = None;
    while let Some((number, after)) = number(rest).ok()? {
        let unit = UNITS
            .iter()
            .find_map(|(name, nanos)| Some((after.strip_prefix(name)?, nanos)));
        let Some((after, unit)) = unit else {
            break;
        };
        sum = Some(sum.unwrap_or(0).checked_add(nanos(number * unit)?)?);
        rest = after;
    }
    let sum = if is_negative {
        sum?.checked_neg()?
    } else {
        sum?
    };
    i64::try_from(sum).ok().map(TimeDelta::nanoseconds)
}

/// Returns the whole nanoseconds, if they are a duration.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn nanos(nanos: f64) -> Option<i128> {
    (nanos.abs() <= 9_223_372_036_854_775_808.0).then_some(i128::from(nanos as i64))
}

/// The exponent of a number has no digits.
struct NoExponent;

/// Returns the number that a text begins with and the rest, if it begins with one.
fn number(text: &str) -> Result<Option<(f64, &str)>, NoExponent> {
    let digits = |text: &str| {
        let rest = text.trim_start_matches(|character: char| character.is_ascii_digit());
        text.len().saturating_sub(rest.len())
    };
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let whole = digits(unsigned);
    let mut rest = unsigned.get(whole..).unwrap_or_default();
    if let Some(after) = rest.strip_prefix('.') {
        let fraction = digits(after);
        if whole == 0 && fraction == 0 {
            return Ok(None);
        }
        rest = after.get(fraction..).unwrap_or_default();
    } else if whole == 0 {
        return Ok(None);
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let length = digits(exponent);
        if length == 0 {
            return Err(NoExponent);
        }
        rest = exponent.get(length..).unwrap_or_default();
    }
    let number = text.strip_suffix(rest);
    let number = number.and_then(|number| number.parse().ok());
    Ok(number.map(|number| (number, rest)))
}
