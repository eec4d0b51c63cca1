//! Strings of JSON without their escapes.

use std::borrow::Cow;

/// Returns the text of a JSON string, from the bytes between its quotes. What has no text, such as half
/// of a surrogate pair, becomes U+FFFD; an escape that is cut off or unknown is dropped.
#[must_use]
pub fn unescaped(string: &[u8]) -> Cow<'_, str> {
    if !string.contains(&b'\\') {
        return String::from_utf8_lossy(string);
    }
    Cow::Owned(without_escapes(string))
}

#[cold]
fn without_escapes(string: &[u8]) -> String {
    let mut text = Vec::with_capacity(string.len());
    let mut rest = string;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            text.push(byte);
            continue;
        }
        let Some((&escape, tail)) = rest.split_first() else {
            break;
        };
        rest = tail;
        let character = match escape {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let (character, tail) = character(rest);
                rest = tail;
                character
            }
            other => char::from(other),
        };
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Returns the character of the digits after `\u`, and what follows it.
fn character(digits: &[u8]) -> (char, &[u8]) {
    let Some((high, rest)) = unit(digits) else {
        return (char::REPLACEMENT_CHARACTER, &[]);
    };
    if let Some(character) = char::from_u32(high) {
        return (character, rest);
    }
    if let Some(low) = rest.strip_prefix(b"\\u")
        && let Some((low, after)) = unit(low)
        && (0xd800..0xdc00).contains(&high)
        && (0xdc00..0xe000).contains(&low)
    {
        let code = (high & 0x3ff) << 10 | (low & 0x3ff);
        let code = code.saturating_add(0x1_0000);
        if let Some(character) = char::from_u32(code) {
            return (character, after);
        }
    }
    (char::REPLACEMENT_CHARACTER, rest)
}

/// Returns the number that four hexadecimal digits are, and what follows them.
fn unit(digits: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = digits.split_at_checked(4)?;
    let digits = str::from_utf8(digits).ok()?;
    Some((u32::from_str_radix(digits, 16).ok()?, rest))
}
