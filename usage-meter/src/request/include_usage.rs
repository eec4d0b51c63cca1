//! The request for a usage report in a stream: `stream_options.include_usage`.

use super::splice::Object;
use memchr::{memchr2_iter, memmem};
use std::ops::Range;

/// The member that is inserted if there are no `stream_options`.
const OPTIONS_MEMBER: &str = r#""stream_options":{"include_usage":true}"#;

/// The value of `stream_options` that asks for usage.
const OPTIONS_VALUE: &str = r#"{"include_usage":true}"#;

/// How often a key may be repeated. Some servers take the first of several values, most the last, so all are set.
const MAX_REPEATED: usize = 8;

/// Returns the body with `include_usage` set to `true`, in each of several `stream_options`; all other bytes stay the
/// same. `None` if the body is not a JSON object, or repeats a key more than eight times.
///
/// ```
/// use usage_meter::request::include_usage;
///
/// let spliced = include_usage::splice(br#"{"stream":true}"#).unwrap();
/// assert_eq!(spliced, br#"{"stream_options":{"include_usage":true},"stream":true}"#);
/// ```
#[cold]
#[must_use]
pub fn splice(body: &[u8]) -> Option<Vec<u8>> {
    let object = Object::new(body)?;
    let all = object.find_all("stream_options", MAX_REPEATED).ok()?;
    if all.is_empty() {
        return object.insert(OPTIONS_MEMBER);
    }
    change_each(body, &all, set)
}

/// Returns the body with `include_usage` in these `stream_options`.
fn set(object: Object<'_>, options: &Range<usize>) -> Option<Vec<u8>> {
    let text = object.text(options);
    if !text.starts_with(b"{") {
        return object.replace(options, OPTIONS_VALUE.as_bytes());
    }
    let within = Object::new(text)?;
    let all = within.find_all("include_usage", MAX_REPEATED).ok()?;
    let changed = if all.is_empty() {
        within.insert(r#""include_usage":true"#)
    } else {
        change_each(text, &all, |within, value| within.replace(value, b"true"))
    };
    object.replace(options, &changed?)
}

/// Returns the body with a change at each of these places. The last comes first, so that the others stay where they are.
fn change_each(
    body: &[u8],
    places: &[Range<usize>],
    change: impl Fn(Object<'_>, &Range<usize>) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let mut changed = body.to_vec();
    for place in places.iter().rev() {
        changed = change(Object::new(&changed)?, place)?;
    }
    Some(changed)
}

/// Returns whether a text names `stream_options` or `include_usage`, or may do so by an escape.
///
/// An error that does so, about a body that does not, is likely to be about what [`splice`] has added.
#[cold]
#[must_use]
pub fn is_named_in(text: &[u8]) -> bool {
    // Both characters are rare in text and absent from Base64.
    memchr2_iter(b'_', b'\\', text).any(|at| {
        let (before, after) = text.split_at_checked(at).unwrap_or_default();
        match after {
            [b'_', after @ ..] => {
                (before.ends_with(b"stream") && after.starts_with(b"options"))
                    || (before.ends_with(b"include") && after.starts_with(b"usage"))
            }
            [_, after @ ..] => after.starts_with(b"u00"),
            [] => false,
        }
    })
}

/// Returns whether an error repeats the body of a request for a stream: it has the key `stream`, as in
/// `"stream": true`, `'stream': True` or `stream=True`.
///
/// Such an error names what [`splice`] has added, whatever it is about.
#[must_use]
pub fn repeats_request(error: &[u8]) -> bool {
    const KEY: &[u8] = b"stream";
    memmem::find_iter(error, KEY).any(|at| {
        let after = error.get(at.saturating_add(KEY.len())..);
        let after = after.unwrap_or_default();
        let is_quoted = matches!(after.first(), Some(b'"' | b'\'' | b'\\'));
        let mut after = after.iter();
        let next = after.find(|byte| !matches!(byte, b'"' | b'\'' | b'\\' | b' '));
        next == Some(&b'=') || (is_quoted && next == Some(&b':'))
    })
}
