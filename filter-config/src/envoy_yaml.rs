//! YAML as Envoy reads it: the types that its scalars have in a `google.protobuf.Struct`.
//!
//! Envoy reads YAML 1.1 in parts: `yes`, `on` and `y` are booleans and `010` is octal, while numbers with a decimal point or
//! an exponent, and those of more than 32 bits, are texts.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use crate::json::Json;

/// Objects and lists within one another, as in JSON.
const MAX_DEPTH: usize = 127;

/// Values of a document, those that aliases repeat included.
const MAX_VALUES: usize = 1 << 20;

/// A document that is being read.
#[derive(Default)]
struct Builder {
    /// The objects and lists that have begun and not ended.
    open: Vec<Open>,
    /// The values with an anchor, and the number of values that they consist of.
    anchors: HashMap<usize, (Json, usize)>,
    /// The number of values.
    values: usize,
}

/// An object or a list that has begun.
struct Open {
    value: Container,
    anchor: usize,
    /// The number of values before it.
    values_before: usize,
}

enum Container {
    List(Vec<Json>),
    /// The entries, and a key that has no value yet.
    Object(Vec<(String, Json)>, Option<String>),
}

/// Parses the first document.
///
/// # Errors
///
/// The message of the parser, or what of YAML is not supported.
pub(crate) fn parse(yaml: &str) -> Result<Json, String> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(yaml) {
        let (event, _) = event.map_err(|error| error.to_string())?;
        let complete = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = builder.scalar(&text, style, tag.as_deref());
                builder.add(value, anchor, 1)?
            }
            Event::Alias(anchor) => {
                let known = builder.anchors.get(&anchor).cloned();
                let (value, values) = known.ok_or("found an alias within its own anchor")?;
                builder.add(value, 0, values)?
            }
            Event::SequenceStart(anchor, _) => {
                builder.begin(Container::List(Vec::new()), anchor)?;
                None
            }
            Event::MappingStart(anchor, _) => {
                builder.begin(Container::Object(Vec::new(), None), anchor)?;
                None
            }
            Event::SequenceEnd | Event::MappingEnd => builder.end()?,
            _ => None,
        };
        if let Some(document) = complete {
            return Ok(document);
        }
    }
    Ok(Json::Null)
}

// === impl Builder ===

impl Builder {
    /// Returns a scalar, or the text of one that is a key.
    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Json {
        let open = self.open.last().map(|open| &open.value);
        if matches!(open, Some(Container::Object(_, None))) {
            let is_null = style == ScalarStyle::Plain && tag.is_none() && is_null(text);
            return Json::String(if is_null { "null" } else { text }.to_owned());
        }
        resolve(text, style, tag)
    }

    fn begin(&mut self, value: Container, anchor: usize) -> Result<(), String> {
        if self.open.len() >= MAX_DEPTH {
            return Err(format!("nests more than {MAX_DEPTH} objects and lists"));
        }
        self.open.push(Open {
            value,
            anchor,
            values_before: self.values,
        });
        Ok(())
    }

    /// Ends an object or a list. Returns it if it is the whole document.
    fn end(&mut self) -> Result<Option<Json>, String> {
        let Some(open) = self.open.pop() else {
            return Ok(None);
        };
        let value = match open.value {
            Container::List(items) => Json::Array(items),
            Container::Object(entries, _) => Json::Object(entries),
        };
        let within = self.values.saturating_sub(open.values_before);
        self.values = open.values_before;
        self.add(value, open.anchor, within.saturating_add(1))
    }

    /// Adds a value, which consists of a number of them, to what it is part of. Returns it if it is the whole document.
    fn add(&mut self, value: Json, anchor: usize, values: usize) -> Result<Option<Json>, String> {
        self.values = self.values.saturating_add(values);
        if self.values > MAX_VALUES {
            return Err(format!("has more than {MAX_VALUES} values"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), values));
        }
        match self.open.last_mut().map(|open| &mut open.value) {
            None => return Ok(Some(value)),
            Some(Container::List(items)) => items.push(value),
            Some(Container::Object(entries, key)) => match (key.take(), value) {
                (Some(key), value) => entries.push((key, value)),
                (None, Json::String(name)) => *key = Some(name),
                (None, value) => return Err(format!("has {} as a key", value.found())),
            },
        }
        Ok(None)
    }
}

/// Returns a scalar with the type that Envoy gives it.
fn resolve(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Json {
    let is_plain = style == ScalarStyle::Plain;
    // The tag `!` makes a text of what follows, as quotes do. Other tags have no effect, but on null.
    let is_text = match tag {
        None => !is_plain,
        Some(tag) => matches!(
            (tag.handle.as_str(), tag.suffix.as_str()),
            ("" | "!", "" | "!")
        ),
    };
    if is_text {
        return Json::String(text.to_owned());
    }
    if tag.is_none() && is_null(text) {
        return Json::Null;
    }
    if let Some(bool) = boolean(text) {
        return Json::Bool(bool);
    }
    match integer(text) {
        Some(number) => match i32::try_from(number) {
            Ok(number) => Json::from(f64::from(number)),
            Err(_) => Json::String(number.to_string()),
        },
        None => Json::String(text.to_owned()),
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Returns a boolean, written in lower case, in upper case or with a capital.
fn boolean(text: &str) -> Option<bool> {
    let lower = text.to_ascii_lowercase();
    let rest = text.get(1..)?;
    let is_regular =
        text == lower || text == text.to_ascii_uppercase() || lower.get(1..) == Some(rest);
    match lower.as_str() {
        _ if !is_regular => None,
        "y" | "yes" | "true" | "on" => Some(true),
        "n" | "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// Returns an integer in C's notation: decimal, hexadecimal with `0x`, or octal with `0`.
fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let hexadecimal = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"));
    let (digits, radix) = match hexadecimal {
        Some(digits) => (digits, 16),
        None => match digits.strip_prefix('0') {
            Some(octal) if !octal.is_empty() => (octal, 8),
            _ => (digits, 10),
        },
    };
    // A second sign is none of C's.
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let signed: Cow<'_, str> = if sign.is_empty() {
        digits.into()
    } else {
        [sign, digits].concat().into()
    };
    i64::from_str_radix(&signed, radix).ok()
}
