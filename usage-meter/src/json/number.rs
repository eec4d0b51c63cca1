//! Numbers of tokens, in every notation that JSON allows.

#[cfg(test)]
mod tests;

/// An exponent beyond this changes nothing: the value is 0 or exceeds `u64` long before.
const MAX_EXPONENT: i32 = 1_000_000;

/// A number in a usage report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reported {
    /// A number of tokens.
    Tokens(u64),
    /// A negative number.
    Negative,
    /// No number: `null`, text or a boolean.
    None,
}

/// Parses a number in a usage report.
pub(crate) fn reported(text: &[u8]) -> Reported {
    match tokens(text) {
        Some(tokens) => Reported::Tokens(tokens),
        None if text
            .trim_ascii()
            .strip_prefix(b"-")
            .and_then(tokens)
            .is_some() =>
        {
            Reported::Negative
        }
        None => Reported::None,
    }
}

/// Parses a number of tokens, such that no notation makes a response free of charge.
///
/// * Integers and integral floats (`12`, `12.0`, `1.2e1`) are exact.
/// * Fractions are rounded up.
/// * What exceeds `u64` (20 digits, `1e400`) is `u64::MAX`.
/// * A string counts as the number in it: the caller passes the text between the quotes.
///
/// Returns `None` for anything else: negative numbers, `null`, booleans, other text and none at all.
#[must_use]
pub(crate) fn tokens(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let magnitude = magnitude(digits)?;
    (!negative || magnitude == 0).then_some(magnitude)
}

/// Parses an unsigned decimal and rounds it up to an integer.
fn magnitude(text: &[u8]) -> Option<u64> {
    let exponent_at = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (decimal, exponent) = match exponent_at.and_then(|at| text.split_at_checked(at)) {
        Some((decimal, exponent)) => (decimal, signed_exponent(exponent.get(1..)?)?),
        None => (text, 0),
    };
    let mut value = 0_u128;
    let mut scale = exponent;
    let mut remainder = false;
    let mut seen_digit = false;
    let mut seen_point = false;
    for &byte in decimal {
        let digit = match byte {
            b'0'..=b'9' => u128::from(byte.wrapping_sub(b'0')),
            b'.' if seen_digit && !seen_point => {
                seen_point = true;
                continue;
            }
            _ => return None,
        };
        seen_digit = true;
        let has_room = value < u128::MAX / 16;
        if has_room {
            value = value.saturating_mul(10).saturating_add(digit);
        } else {
            remainder |= digit != 0;
        }
        // A digit that is kept after the point makes the power of ten smaller; one that is dropped
        // before the point makes it larger.
        match (seen_point, has_room) {
            (true, true) => scale = scale.saturating_sub(1),
            (false, false) => scale = scale.saturating_add(1),
            _ => {}
        }
    }
    if !seen_digit {
        return None;
    }
    if value == 0 {
        return Some(0);
    }
    while scale > 0 && value <= u128::from(u64::MAX) {
        value = value.saturating_mul(10);
        scale = scale.saturating_sub(1);
    }
    while scale < 0 && value > 0 {
        remainder |= !value.is_multiple_of(10);
        value /= 10;
        scale = scale.saturating_add(1);
    }
    let rounded = value.saturating_add(u128::from(remainder));
    Some(u64::try_from(rounded).unwrap_or(u64::MAX))
}

/// Parses the exponent after `e`, limited to [`MAX_EXPONENT`].
fn signed_exponent(text: &[u8]) -> Option<i32> {
    let (negative, digits) = match text.split_first()? {
        (b'-', digits) => (true, digits),
        (b'+', digits) => (false, digits),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits
        .iter()
        .map(|byte| i32::from(byte.wrapping_sub(b'0')))
        .fold(0_i32, |value, digit| {
            value.saturating_mul(10).saturating_add(digit)
        })
        .min(MAX_EXPONENT);
    Some(if negative {
        size.saturating_neg()
    } else {
        size
    })
}
