//! The values of literals.

use cel::common::ast::LiteralValue;

use super::lexer::Kind;

const INT: &str = "found an integer out of range, expected one from -2^63 to 2^63 - 1";
const UINT: &str = "found an unsigned integer out of range, expected one up to 2^64 - 1";
const DOUBLE: &str = "found a number out of range, expected one up to 1.8e308";
const CHARACTER: &str = "found an escape that is not a character";

/// Returns the value of a token, or what is wrong with it; `None` if it is not a literal.
pub(super) fn value(
    kind: Kind,
    text: &str,
    is_negative: bool,
) -> Option<Result<LiteralValue, &'static str>> {
    Some(match kind {
        Kind::Symbol("null") => Ok(LiteralValue::Null),
        Kind::Symbol("true") => Ok(LiteralValue::Boolean(true.into())),
        Kind::Symbol("false") => Ok(LiteralValue::Boolean(false.into())),
        Kind::Int => int(text, is_negative)
            .map(|int| LiteralValue::Int(int.into()))
            .ok_or(INT),
        Kind::Uint => uint(text)
            .map(|uint| LiteralValue::UInt(uint.into()))
            .ok_or(UINT),
        Kind::Double => double(text, is_negative)
            .map(|double| LiteralValue::Double(double.into()))
            .ok_or(DOUBLE),
        Kind::String => unescape(text, false)
            .and_then(|text| String::from_utf8(text).ok())
            .map(|text| LiteralValue::String(text.into()))
            .ok_or(CHARACTER),
        Kind::Bytes => unescape(text, true)
            .map(|bytes| LiteralValue::Bytes(bytes.into()))
            .ok_or(
                "found an escape of a character in bytes, expected one of a byte, as in `\\xff`",
            ),
        _ => return None,
    })
}

fn int(text: &str, is_negative: bool) -> Option<i64> {
    let sign = if is_negative { "-" } else { "" };
    match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(&[sign, digits].concat(), 16).ok(),
        None => [sign, text].concat().parse().ok(),
    }
}

fn uint(text: &str) -> Option<u64> {
    let text = text.strip_suffix(['u', 'U'])?;
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn double(text: &str, is_negative: bool) -> Option<f64> {
    let magnitude: f64 = text.parse().ok()?;
    let is_finite = magnitude.is_finite();
    is_finite.then_some(if is_negative { -magnitude } else { magnitude })
}

/// Returns the bytes of a well-formed string literal; `None` if an escape is not possible in it.
fn unescape(literal: &str, is_bytes: bool) -> Option<Vec<u8>> {
    let quoted = literal.trim_start_matches(['r', 'R', 'b', 'B']);
    let prefix = literal.strip_suffix(quoted).unwrap_or_default();
    let triple = ["\"\"\"", "'''"]
        .into_iter()
        .find_map(|quotes| quoted.strip_prefix(quotes)?.strip_suffix(quotes));
    let content = triple.or_else(|| {
        let quote = quoted.chars().next()?;
        quoted.strip_prefix(quote)?.strip_suffix(quote)
    })?;
    // Only literals with triple quotes have line breaks.
    let content = content.replace("\r\n", "\n").replace('\r', "\n");
    if prefix.contains(['r', 'R']) {
        return Some(content.into_bytes());
    }
    let mut unescaped = Vec::with_capacity(content.len());
    let mut rest = content.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            push(&mut unescaped, character);
            continue;
        }
        let escape = rest.next()?;
        let (digits, radix) = match escape {
            'x' | 'X' => (2, 16),
            'u' if !is_bytes => (4, 16),
            'U' if !is_bytes => (8, 16),
            '0'..='3' => (2, 8),
            'u' | 'U' => return None,
            _ => {
                push(&mut unescaped, single(escape));
                continue;
            }
        };
        let mut code = if radix == 8 {
            escape.to_digit(radix)?
        } else {
            0
        };
        for _ in 0..digits {
            let digit = rest.next()?.to_digit(radix)?;
            code = code.checked_mul(radix)?.checked_add(digit)?;
        }
        if is_bytes {
            unescaped.push(u8::try_from(code).ok()?);
        } else {
            push(&mut unescaped, char::from_u32(code)?);
        }
    }
    Some(unescaped)
}

/// Returns the character that one stands for after a backslash.
fn single(escape: char) -> char {
    match escape {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        other => other,
    }
}

fn push(bytes: &mut Vec<u8>, character: char) {
    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}
