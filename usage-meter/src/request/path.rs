//! The spellings of a path that servers take as the same one.
//!
//! A proxy passes most spellings on as they are, and servers and frameworks resolve them before they choose a route:
//! percent-encoding, dot segments and empty segments (RFC 3986, sections 2.1, 3.3 and 5.2.4), backslashes (the URL
//! standard), and parameters of segments, `;a=b` (section 3.3). A caller must not be able to choose one that a limit does
//! not know.

use std::borrow::Cow;

/// What a percent-encoded slash is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EncodedSlash {
    /// A character of its segment, as in the names of models. It stays encoded.
    Character,
    /// The end of a segment: many frameworks decode a path before they choose its route.
    Separator,
}

/// Returns a path without its query, parameters, empty and dot segments and trailing slashes, and decoded, save for
/// percent signs and, as characters, slashes. An ordinary path is returned as it is.
pub(super) fn canonical(path: &str, slash: EncodedSlash) -> Cow<'_, str> {
    let end = path.find(['?', '#']).unwrap_or(path.len());
    let path = path.get(..end).unwrap_or(path);
    if is_canonical(path) {
        return Cow::Borrowed(path);
    }
    let decoded;
    let path = match slash {
        EncodedSlash::Character => path,
        EncodedSlash::Separator => {
            decoded = decode_slashes(path);
            &decoded
        }
    };
    let mut segments: Vec<Cow<'_, str>> = Vec::new();
    for segment in path.split(['/', '\\']) {
        let segment = segment.split_once(';').map_or(segment, |(name, _)| name);
        let segment = decode_segment(segment);
        match segment.as_ref() {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let mut canonical = String::with_capacity(path.len());
    for segment in segments {
        canonical.push('/');
        canonical.push_str(&segment);
    }
    Cow::Owned(canonical)
}

/// Decodes the percent-encoding of a text, so that a client cannot give a model several names. Invalid encodings stay as
/// they are; bytes that are not UTF-8 are replaced.
pub(super) fn percent_decoded(text: &str) -> Cow<'_, str> {
    decode(text, |_| true)
}

/// Returns whether a path without a query has one spelling only.
fn is_canonical(path: &str) -> bool {
    let bytes = path.as_bytes();
    !bytes.iter().any(|byte| matches!(byte, b'%' | b';' | b'\\'))
        && !bytes.ends_with(b"/")
        && !bytes
            .windows(2)
            .any(|pair| matches!(pair, [b'/', b'/' | b'.']))
}

/// Decodes a segment, save for slashes and percent signs.
fn decode_segment(segment: &str) -> Cow<'_, str> {
    decode(segment, |byte| !matches!(byte, b'/' | b'%'))
}

/// Decodes slashes and backslashes alone.
fn decode_slashes(path: &str) -> Cow<'_, str> {
    decode(path, |byte| matches!(byte, b'/' | b'\\'))
}

/// Decodes the percent-encoded bytes that are `decoded`.
fn decode(text: &str, decoded: impl Fn(u8) -> bool) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let digits = (digit(ahead.next()), digit(ahead.next()));
        if let (b'%', (Some(high), Some(low))) = (byte, digits)
            && let Ok(encoded) = u8::try_from(high << 4 | low)
            && decoded(encoded)
        {
            bytes.push(encoded);
            rest = ahead;
        } else {
            bytes.push(byte);
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn digit(byte: Option<u8>) -> Option<u32> {
    char::from(byte?).to_digit(16)
}
