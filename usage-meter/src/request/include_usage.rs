//! The request for a usage report in a stream: `stream_options.include_usage`.

use super::splice::{offset, replace};
use memchr::memchr2_iter;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The member that is inserted if there are no `stream_options`.
const OPTIONS_MEMBER: &str = r#""stream_options":{"include_usage":true}"#;

/// The value of `stream_options` that asks for usage.
const OPTIONS_VALUE: &str = r#"{"include_usage":true}"#;

/// The part of a body that changes.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    stream_options: Option<&'a RawValue>,
}

/// The value of `stream_options`.
#[derive(Deserialize)]
struct Options<'a> {
    #[serde(borrow)]
    include_usage: Option<&'a RawValue>,
}

/// Returns the body with `include_usage` set to `true`; all other bytes stay the same. `None` if the body
/// is not a JSON object, or has a key twice, so that its meaning is not certain.
///
/// ```
/// use usage_meter::request::include_usage;
///
/// let spliced = include_usage::splice(br#"{"stream":true}"#).unwrap();
/// assert_eq!(spliced, br#"{"stream_options":{"include_usage":true},"stream":true}"#);
/// ```
#[must_use]
pub fn splice(body: &[u8]) -> Option<Vec<u8>> {
    let text = str::from_utf8(body).ok()?;
    let json = text.strip_prefix('\u{feff}').unwrap_or(text);
    // `serde` would read an array as the members in order.
    if !json.trim_start().starts_with('{') {
        return None;
    }
    let parsed: Body<'_> = serde_json::from_str(json).ok()?;
    // `null` reads as absent, so the key itself is searched.
    let Some(options) = parsed.stream_options else {
        return match null_options(json) {
            Some(null) => replace(text, null, OPTIONS_VALUE),
            None => insert(text, json, OPTIONS_MEMBER),
        };
    };
    let options = options.get();
    let object = options
        .starts_with('{')
        .then(|| serde_json::from_str(options));
    let Some(Ok(Options { include_usage })) = object else {
        return replace(text, options, OPTIONS_VALUE);
    };
    match include_usage {
        Some(value) => replace(text, value.get(), "true"),
        None => match null_usage(options) {
            Some(null) => replace(text, null, "true"),
            None => insert(text, options, r#""include_usage":true"#),
        },
    }
}

/// Returns whether a text names `stream_options` or `include_usage`, or may do so by an escape.
///
/// An error that does so, about a body that does not, is likely to be about what [`splice`] has added.
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

/// Returns `text` with a member inserted at the start of `object`, a slice of it.
fn insert(text: &str, object: &str, member: &str) -> Option<Vec<u8>> {
    let (before, inside) = object.split_once('{')?;
    let at = offset(text, object)?
        .checked_add(before.len())?
        .checked_add(1)?;
    let mut spliced = Vec::with_capacity(text.len().saturating_add(member.len()));
    spliced.extend_from_slice(text.get(..at)?.as_bytes());
    spliced.extend_from_slice(member.as_bytes());
    if !inside.trim_start().starts_with('}') {
        spliced.push(b',');
    }
    spliced.extend_from_slice(text.get(at..)?.as_bytes());
    Some(spliced)
}

/// Returns the `null` that is the value of `stream_options`, if there is one.
fn null_options(json: &str) -> Option<&str> {
    #[derive(Deserialize)]
    struct Present<'a> {
        #[serde(borrow)]
        stream_options: &'a RawValue,
    }
    serde_json::from_str::<Present<'_>>(json)
        .ok()
        .map(|present| present.stream_options.get())
}

/// Returns the `null` that is the value of `include_usage`, if there is one.
fn null_usage(json: &str) -> Option<&str> {
    #[derive(Deserialize)]
    struct Present<'a> {
        #[serde(borrow)]
        include_usage: &'a RawValue,
    }
    serde_json::from_str::<Present<'_>>(json)
        .ok()
        .map(|present| present.include_usage.get())
}
