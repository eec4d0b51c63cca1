//! Asks for a usage report in a stream whose client did not: `stream_options.include_usage`, spliced
//! into the request's body. Not a byte of the rest changes.

use super::splice::{offset, replace};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What is spliced in where there are no `stream_options`.
const OPTIONS: &str = r#""stream_options":{"include_usage":true}"#;

/// The value of `stream_options` that asks for usage.
const VALUE: &str = r#"{"include_usage":true}"#;

/// A part of a body, found where it stands.
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

/// The body with a wish for usage, whatever it says of it; `None` where it is not a JSON object, or
/// one that cannot be told what it says (a key twice), and stays as it is.
#[must_use]
pub fn splice(body: &[u8]) -> Option<Vec<u8>> {
    let text = str::from_utf8(body).ok()?;
    let json = text.strip_prefix('\u{feff}').unwrap_or(text);
    // An array would be read as the members in order.
    if !json.trim_start().starts_with('{') {
        return None;
    }
    let parsed: Body<'_> = serde_json::from_str(json).ok()?;
    // `null` reads as absent, so the key itself has to be looked for.
    let Some(options) = parsed.stream_options else {
        return match null_options(json) {
            Some(null) => replace(text, null, VALUE),
            None => insert(text, json, OPTIONS),
        };
    };
    let options = options.get();
    let object = options
        .starts_with('{')
        .then(|| serde_json::from_str(options));
    let Some(Ok(Options { include_usage })) = object else {
        return replace(text, options, VALUE);
    };
    match include_usage {
        Some(value) => replace(text, value.get(), "true"),
        None => match null_usage(options) {
            Some(null) => replace(text, null, "true"),
            None => insert(text, options, r#""include_usage":true"#),
        },
    }
}

/// The text with a member put first into `object`, which is a part of it.
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

/// The `null` that is the value of `stream_options`, if there is one.
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

/// The `null` that is the value of `include_usage`, if there is one.
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
