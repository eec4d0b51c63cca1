//! Times and durations of logs.

use serde_json::Value;

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400;

/// Returns a time in nanoseconds since the Unix epoch: RFC 3339, or a number of seconds, milliseconds, microseconds or nanoseconds,
/// distinguished by their size.
pub(super) fn time(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => match text.parse::<f64>() {
            Ok(number) => of_number(number),
            Err(_) => rfc3339(text),
        },
        Value::Number(number) => of_number(number.as_f64()?),
        _ => None,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the number is within the range of nanoseconds"
)]
fn of_number(number: f64) -> Option<u64> {
    // Seconds have eleven digits until the year 5138.
    let factor = match number {
        _ if number < 1e11 => 1e9,
        _ if number < 1e14 => 1e6,
        _ if number < 1e17 => 1e3,
        _ => 1.0,
    };
    let nanos = number * factor;
    ((0.0..1.8e19).contains(&nanos)).then_some(nanos as u64)
}

/// Returns a duration in nanoseconds: a number of milliseconds, or text such as `12ms` or `1.5s`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the number is within the range of nanoseconds"
)]
pub(super) fn duration(value: &Value) -> Option<u64> {
    let (number, factor) = match value {
        Value::Number(number) => (number.as_f64()?, 1e6),
        Value::String(text) => {
            let text = text.trim();
            let units = [
                ("ms", 1e6),
                ("us", 1e3),
                ("ns", 1.0),
                ("s", 1e9),
                ("m", 6e10),
                ("", 1e6),
            ];
            let (unit, factor) = units.iter().find(|(unit, _)| text.ends_with(unit))?;
            let number = text.strip_suffix(unit)?.trim().parse::<f64>().ok()?;
            (number, *factor)
        }
        _ => return None,
    };
    let nanos = number * factor;
    (nanos.is_finite() && (0.0..1.8e19).contains(&nanos)).then_some(nanos as u64)
}

/// Returns a time of RFC 3339, such as `2026-01-31T09:30:00.123Z` or with an offset.
fn rfc3339(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| {
        let digits = bytes.get(from..to)?;
        digits.iter().try_fold(0_u64, |number, digit| {
            digit
                .is_ascii_digit()
                .then(|| number * 10 + u64::from(digit - b'0'))
        })
    };
    let is = |at: usize, expected: &[u8]| bytes.get(at).is_some_and(|byte| expected.contains(byte));
    if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let is_valid = year >= 1970 && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_valid || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut at = 19;
    let mut nanos = 0;
    if is(at, b".,") {
        at += 1;
        let mut unit = SECOND / 10;
        while let Some(digit) = bytes.get(at).filter(|byte| byte.is_ascii_digit()) {
            nanos += u64::from(digit - b'0') * unit;
            unit /= 10;
            at += 1;
        }
    }
    let seconds = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    let seconds = match bytes.get(at) {
        Some(b'Z' | b'z') if bytes.len() == at + 1 => seconds,
        None => seconds,
        Some(sign @ (b'+' | b'-')) if is(at + 3, b":") && bytes.len() == at + 6 => {
            let offset = number(at + 1, at + 3)? * 3600 + number(at + 4, at + 6)? * 60;
            if *sign == b'+' {
                seconds.checked_sub(offset)?
            } else {
                seconds + offset
            }
        }
        _ => return None,
    };
    seconds.checked_mul(SECOND)?.checked_add(nanos)
}

/// Returns the days from the Unix epoch to a date of the Gregorian calendar.
fn days(year: u64, month: u64, day: u64) -> u64 {
    // The year begins in March, so that a leap day is its last.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Returns a time as text, in UTC and with milliseconds.
pub(crate) fn text(nanos: u64) -> String {
    let (seconds, millis) = (nanos / SECOND, nanos % SECOND / 1_000_000);
    let (day, second) = (seconds / DAY + 719_468, seconds % DAY);
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second % 3600 / 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}
