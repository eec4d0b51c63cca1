//! Readers of values that several parts of a configuration have: durations, money, expressions, JSON pointers and
//! headers.

use std::ops::RangeInclusive;
use std::str::FromStr as _;
use std::time::Duration;

use usage_meter::{PointerError, UsagePointer, UsagePointerError};

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::expression::{Expression, Role};
use crate::json::Json;
use crate::path::Path;
use crate::reader::{self, unexpected};
use crate::usd::Usd;
use crate::window::{self, Window, WindowError};

/// The message on a text that is not the name of a header.
pub(crate) const INVALID_HEADER_NAME: &str =
    "invalid header name, expected a token of RFC 9110 such as \"x-user-id\"";

/// Units of sizes, the largest first, and their bytes.
const SIZE_UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Reads a CEL expression.
pub(crate) fn expression(
    json: &Json,
    role: Role,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Expression, Invalid> {
    let source = reader::text(json, bounds::EXPRESSION_BYTES, path, errors)?;
    errors.expressions.compile(source, role).map_err(|found| {
        for error in found {
            errors.push(path, error);
        }
        Invalid
    })
}

/// Returns whether a duration is an expression, by its punctuation: a mistyped duration has to be reported as such.
pub(crate) fn is_expression(json: &Json) -> bool {
    let Json::String(text) = json else {
        return false;
    };
    let mut pairs = text.as_bytes().windows(2);
    text.contains(['(', '[', '{', '?', '"', '\''])
        || pairs.any(|pair| matches!(pair, [b'.', name] if name.is_ascii_alphabetic()))
}

/// Reads the window of a rate or of a budget.
pub(crate) fn window(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Window, Invalid> {
    let Json::String(text) = json else {
        let expected = "a duration, e.g. \"60s\", \"1m\" or \"24h\"";
        return Err(not_a_duration(json, expected, path, errors));
    };
    Window::from_str(text).map_err(|error| errors.push(path, invalid_window(text, error)))
}

/// Returns the error of a text that is no duration, which names the duration that it spells out, if it does.
fn invalid_window(text: &str, error: WindowError) -> ErrorKind {
    let found = Json::String(text.to_owned()).found();
    match window::spelled(text) {
        Some(instead) => ErrorKind::SpelledWindow { found, instead },
        None => ErrorKind::Window { found, error },
    }
}

/// Adds the error of a value that is no text, which names the seconds that a number is likely to be.
fn not_a_duration(
    json: &Json,
    expected: &str,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Invalid {
    match json {
        Json::Whole(seconds) if *seconds > 0 => {
            let (found, instead) = (json.found(), format!("{seconds}s"));
            errors.push(path, ErrorKind::SpelledWindow { found, instead })
        }
        _ => unexpected(json, expected, path, errors),
    }
}

/// Reads a duration that is not a window. `expected` describes the range `within`; `inner` extracts
/// the duration from a notation that surrounds it.
pub(crate) fn duration(
    json: &Json,
    within: &RangeInclusive<Duration>,
    expected: &str,
    inner: fn(&str) -> &str,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Duration, Invalid> {
    let Json::String(text) = json else {
        return Err(not_a_duration(json, expected, path, errors));
    };
    match Window::from_str(inner(text)).map(|window| Duration::from_nanos(window.as_nanos())) {
        Ok(duration) if within.contains(&duration) => Ok(duration),
        Err(error @ (WindowError::NoUnit | WindowError::UnknownUnit)) => {
            Err(errors.push(path, invalid_window(text, error)))
        }
        _ => Err(unexpected(json, expected, path, errors)),
    }
}

/// Reads a duration of whole milliseconds within a range. Zero is allowed where the range has it.
pub(crate) fn milliseconds(
    json: &Json,
    range: &RangeInclusive<Duration>,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Duration, Invalid> {
    const MILLISECOND: u64 = 1_000_000;
    let nanos = match json {
        Json::String(text) => match Window::from_str(text) {
            Ok(duration) => Some(duration.as_nanos()),
            Err(WindowError::Zero) => Some(0),
            Err(_) => None,
        },
        _ => None,
    };
    let whole = nanos.filter(|nanos| nanos.is_multiple_of(MILLISECOND));
    let duration = whole.map(Duration::from_nanos);
    if let Some(duration) = duration.filter(|duration| range.contains(duration)) {
        return Ok(duration);
    }
    if let Json::Whole(number) = json
        && range.contains(&Duration::from_millis(*number))
    {
        let (found, instead) = (json.found(), format!("{number}ms"));
        return Err(errors.push(path, ErrorKind::SpelledWindow { found, instead }));
    }
    let expected = format!(
        "a duration of whole milliseconds from \"{}ms\" to \"{}ms\"",
        range.start().as_millis(),
        range.end().as_millis()
    );
    Err(unexpected(json, expected, path, errors))
}

/// Reads a size in bytes within a range: a whole number of bytes, or a text with a binary unit such as `512MiB`.
pub(crate) fn size(
    json: &Json,
    range: &RangeInclusive<u64>,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<usize, Invalid> {
    let bytes = match (json.number(), json) {
        (Some(Json::Whole(bytes)), _) => Some(bytes),
        (None, Json::String(text)) => bytes_of(text),
        _ => None,
    };
    let bytes = bytes.filter(|bytes| range.contains(bytes));
    let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| {
        if let Json::String(text) = json
            && let Some(instead) = size_instead(text)
        {
            let found = json.found();
            return errors.push(path, ErrorKind::Size { found, instead });
        }
        let [min, max] = [range.start(), range.end()].map(|bytes| shown_size(*bytes));
        let expected = format!("a size from {min} to {max}, in bytes or e.g. \"64MiB\"");
        unexpected(json, expected, path, errors)
    })
}

/// Returns the bytes of a size such as `512MiB`; `None` for a text that is none.
fn bytes_of(text: &str) -> Option<u64> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let (_, bytes) = SIZE_UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*bytes)
}

/// Returns the size that one in the units of Kubernetes, of ten or of small letters is likely to be: `64MiB` for `64Mi`,
/// `64 MB` or `64m`.
fn size_instead(text: &str) -> Option<String> {
    if bytes_of(text).is_some() {
        return None;
    }
    let text = text.trim();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = text.strip_suffix(unit)?;
    let unit = unit.trim().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let unit = unit.strip_suffix('i').unwrap_or(unit);
    let (known, _) = SIZE_UNITS.iter().find(|(name, _)| {
        name.get(..1)
            .is_some_and(|first| first.eq_ignore_ascii_case(unit))
    })?;
    (!number.is_empty()).then(|| format!("{number}{known}"))
}

/// Returns a size in the largest unit of which it is a multiple.
fn shown_size(bytes: u64) -> String {
    let mut whole = SIZE_UNITS.iter().filter_map(|(name, unit)| {
        let number = bytes.checked_div(*unit)?;
        let is_whole = bytes > 0 && number.checked_mul(*unit) == Some(bytes);
        is_whole.then(|| format!("\"{number}{name}\""))
    });
    whole.next().unwrap_or_else(|| bytes.to_string())
}

/// Reads an amount of US dollars, a number or a text, whose billionths are within a range.
pub(crate) fn usd(
    json: &Json,
    range: &RangeInclusive<u64>,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Usd, Invalid> {
    let text = match (json, json.number()) {
        (Json::String(text), _) if text.parse::<Usd>().is_ok() => text.clone(),
        // The shortest text of this number, which is what was written unless that has more digits than a double.
        (_, Some(Json::Number(number))) => number.to_string(),
        (_, Some(number)) => number.found(),
        _ => json.found(),
    };
    match text.parse::<Usd>() {
        Ok(usd) if range.contains(&usd.0) => Ok(usd),
        Err(_) if matches!(json, Json::String(_)) => {
            let found = json.found();
            Err(errors.push(path, ErrorKind::Usd { found }))
        }
        _ => {
            let [min, max] = [range.start(), range.end()].map(|billionths| Usd(*billionths));
            let expected = format!("an amount of US dollars from {min} to {max}");
            Err(unexpected(json, expected, path, errors))
        }
    }
}

/// Reads a list of JSON pointers to numbers, in the order in which they are tried.
pub(crate) fn pointers(
    json: &Json,
    count: &RangeInclusive<usize>,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Vec<UsagePointer>, Invalid> {
    let items = reader::list(json, "JSON pointers", *count.end(), path, errors)?;
    if items.len() < *count.start() {
        errors.push(path, ErrorKind::Empty);
    }
    let read = |(position, item)| pointer(item, &path.item(position), errors).ok();
    Ok(items.iter().enumerate().filter_map(read).collect())
}

/// Reads a JSON pointer to a number, or a sum of them.
pub(crate) fn pointer(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<UsagePointer, Invalid> {
    let text = reader::text(json, bounds::POINTER_BYTES, path, errors)?;
    let mut terms = text.split(" + ");
    if terms.any(|term| !term.trim_start().starts_with('/')) && text.starts_with('/') {
        let terms = text
            .split(" + ")
            .map(|term| term.trim_start().trim_start_matches('/'));
        let fixed: Vec<&str> = terms.collect();
        let expected = format!(
            "a sum in which each pointer begins with \"/\": \"/{}\"",
            fixed.join(" + /")
        );
        return Err(unexpected(json, expected, path, errors));
    }
    let (found, unit, max) = match text.parse::<UsagePointer>() {
        Ok(pointer) => return Ok(pointer),
        Err(UsagePointerError::Pointer(PointerError::Invalid)) => {
            let expected = "a JSON pointer such as \"/usage/total_tokens\"";
            return Err(unexpected(json, expected, path, errors));
        }
        Err(UsagePointerError::Pointer(PointerError::TooDeep(found))) => {
            (found, "keys and indexes", bounds::POINTER_PARTS)
        }
        Err(UsagePointerError::TooManyTerms(found)) => {
            (found, "JSON pointers in a sum", bounds::POINTER_TERMS)
        }
    };
    Err(errors.push(path, ErrorKind::TooMany { found, unit, max }))
}

/// Checks that a text is the name of a header, and returns it in lower case, as Envoy has it.
pub(crate) fn header_name(
    name: &str,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<String, Invalid> {
    if name.is_empty() || !name.bytes().all(is_header_name_byte) {
        return Err(errors.push(path, ErrorKind::Malformed(INVALID_HEADER_NAME)));
    }
    Ok(name.to_ascii_lowercase())
}

/// Returns whether a byte may be part of the name of a header (RFC 9110, section 5.6.2).
pub(crate) const fn is_header_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Reads the value of a header, at most `max` bytes.
pub(crate) fn header_value(
    json: &Json,
    max: usize,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<String, Invalid> {
    let value = reader::text(json, max, path, errors)?;
    let is_printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    if !value.bytes().all(is_printable) {
        let message = "invalid header value, expected printable ASCII";
        return Err(errors.push(path, ErrorKind::Malformed(message)));
    }
    Ok(value.to_owned())
}

/// Reads at most `max` headers, by their names. `reserved` returns the message on a name that cannot be set.
pub(crate) fn headers(
    json: &Json,
    max: usize,
    reserved: fn(&str) -> Option<&'static str>,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Vec<(String, String)>, Invalid> {
    let entries = reader::entries(json, path, errors)?;
    reader::at_most(entries.len(), "headers", max, path, errors)?;
    let mut headers: Vec<(String, String)> = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        let path = path.field(name);
        let max = bounds::HEADER_NAME_BYTES;
        let name = reader::at_most(name.len(), "bytes", max, &path, errors)
            .and_then(|()| header_name(name, &path, errors));
        let name = name.and_then(|name| match reserved(&name) {
            Some(message) => Err(errors.push(&path, ErrorKind::Malformed(message))),
            None => Ok(name),
        });
        let value = header_value(value, bounds::HEADER_VALUE_BYTES, &path, errors);
        let (Ok(name), Ok(value)) = (name, value) else {
            continue;
        };
        if headers.iter().any(|(known, _)| *known == name) {
            errors.push(&path, ErrorKind::DuplicateField);
        }
        headers.push((name, value));
    }
    Ok(headers)
}
