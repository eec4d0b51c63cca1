//! Numbers of tokens as JSON spells them, read so that no spelling makes an exchange free.

#[cfg(test)]
mod tests;

/// Reads a number of tokens.
///
/// * integers and integral floats (`12`, `12.0`, `1.2e1`) exactly;
/// * fractions are rounded up;
/// * whatever exceeds `u64` (20 digits, `1e400`) is `u64::MAX`;
/// * a string counts as the number written in it; the caller passes its text.
///
/// `None` for anything else: what is negative, `null`, booleans, empty or other text. Where a report
/// has nothing better, the exchange is estimated.
#[must_use]
pub fn tokens(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let magnitude = magnitude(digits)?;
    (!negative || magnitude == 0).then_some(magnitude)
}

/// The value of an unsigned decimal, rounded up to an integer.
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
        let room = value < u128::MAX / 16;
        if room {
            value = value.saturating_mul(10).saturating_add(digit);
        } else {
            remainder |= digit != 0;
        }
        // A digit that is kept moves the point right; one that is not, leaves a larger power of ten.
        match (seen_point, room) {
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

/// The exponent after `e`, saturated: beyond a thousand its size changes nothing.
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
        .min(1_000_000);
    Some(if negative {
        size.saturating_neg()
    } else {
        size
    })
}
