//! Amounts of money: whole billionths of a US dollar, read and written exactly.

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use thiserror::Error;

use crate::fault::Faults;
use crate::fields;
use crate::json::Json;
use crate::path::Path;

/// Billionths in a dollar.
pub const BILLION: u64 = 1_000_000_000;

/// Digits behind the point.
const DIGITS: usize = 9;

/// Digits behind the point that are always written.
const CENTS: usize = 2;

/// An amount of US dollars, in billionths. It displays as `78.50`: with cents, and with as many further
/// digits as it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Usd(pub u64);

/// Why a text is no amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "not an amount of US dollars, expected one such as \"100.00\" with at most 9 digits behind the point"
)]
pub struct UsdError;

// === impl Usd ===

impl FromStr for Usd {
    type Err = UsdError;

    /// Parses a decimal number without a sign, such as `0.075`.
    fn from_str(text: &str) -> Result<Self, UsdError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !is_number(whole) || !is_number(fraction) || fraction.len() > DIGITS {
            return Err(UsdError);
        }
        let whole: u64 = whole.parse().map_err(|_| UsdError)?;
        let fraction: u64 = format!("{fraction:0<DIGITS$}")
            .parse()
            .map_err(|_| UsdError)?;
        whole
            .checked_mul(BILLION)
            .and_then(|billionths| billionths.checked_add(fraction))
            .map(Usd)
            .ok_or(UsdError)
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = format!("{:0DIGITS$}", self.0 % BILLION);
        let (cents, further) = fraction.split_at_checked(CENTS).unwrap_or_default();
        let further = further.trim_end_matches('0');
        write!(formatter, "{}.{cents}{further}", self.0 / BILLION)
    }
}

/// Reads an amount of dollars, a number or a text, whose billionths are within a range.
pub(crate) fn read(
    json: &Json,
    range: &RangeInclusive<u64>,
    path: &Path<'_>,
    faults: &mut Faults,
) -> Option<Usd> {
    let text = match json {
        Json::String(text) => text.clone(),
        // The shortest text that is this number: what was written, unless it had digits past those
        // that a number has.
        Json::Number(number) => number.to_string(),
        _ => json.found(),
    };
    match text.parse::<Usd>() {
        Ok(usd) if range.contains(&usd.0) => Some(usd),
        Err(error) if matches!(json, Json::String(_)) => {
            faults.push(path, error);
            None
        }
        _ => {
            let [least, most] = [range.start(), range.end()].map(|billionths| Usd(*billionths));
            let bounds = format!("an amount of US dollars from {least} to {most}");
            fields::expected(json, bounds, path, faults);
            None
        }
    }
}
