//! Amounts of money: whole billionths of a US dollar, parsed and displayed exactly.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Billionths in a dollar.
const BILLION: u64 = 1_000_000_000;

/// Decimal places of a billionth.
const DECIMALS: usize = 9;

/// Decimal places that are always displayed.
const CENTS: usize = 2;

/// An amount of US dollars, in billionths.
///
/// Displays as `78.50`: with cents, and with as many further decimal places as it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Usd(pub u64);

/// A text that is not an amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("invalid amount, expected {}", UsdError::EXPECTED)]
pub struct UsdError;

// === impl Usd ===

impl FromStr for Usd {
    type Err = UsdError;

    /// Parses a decimal number without a sign, such as `0.075`.
    fn from_str(text: &str) -> Result<Self, UsdError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !is_number(whole) || !is_number(fraction) || fraction.len() > DECIMALS {
            return Err(UsdError);
        }
        let whole: u64 = whole.parse().map_err(|_| UsdError)?;
        let fraction: u64 = format!("{fraction:0<DECIMALS$}")
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
        let fraction = format!("{:0DECIMALS$}", self.0 % BILLION);
        let (cents, further) = fraction.split_at_checked(CENTS).unwrap_or_default();
        let further = further.trim_end_matches('0');
        write!(formatter, "{}.{cents}{further}", self.0 / BILLION)
    }
}

// === impl UsdError ===

impl UsdError {
    /// What a message says is expected.
    pub(crate) const EXPECTED: &str = "US dollars with at most 9 decimal places, e.g. \"100.00\"";
}
