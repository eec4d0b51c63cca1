//! The configuration as a JSON tree that keeps every entry, so that repeated keys are seen.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::path::{Path, shortened};

/// A JSON value. An object keeps its entries in order, including repeated ones.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number that is an integer from 0 to 2⁶⁴ - 1 in any notation: `50`, `50.0`, `5e1`.
    Whole(u64),
    /// Any other number.
    Number(f64),
    /// A text.
    String(String),
    /// A list.
    Array(Vec<Json>),
    /// The entries of an object.
    Object(Vec<(String, Json)>),
}

/// Parses a JSON document.
pub(crate) fn parse(bytes: &[u8], errors: &mut ValidationErrors) -> Result<Json, Invalid> {
    // serde_json bounds the depth of nesting, and rejects bytes after the document.
    parse_with(bytes, errors, |bytes| {
        serde_json::from_slice(bytes).map_err(|error| {
            if is_probably_yaml(bytes) {
                ErrorKind::YamlAsJson
            } else {
                ErrorKind::Json(error.to_string())
            }
        })
    })
}

/// Returns whether a text that is no JSON begins as a document in YAML does: with a comment, a key or a list.
fn is_probably_yaml(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match line.first() {
        Some(b'#') => true,
        Some(b'-') => line.starts_with(b"- ") || line.starts_with(b"---"),
        Some(first) => first.is_ascii_alphabetic() && line.contains(&b':'),
        None => false,
    }
}

/// Parses the documents of a YAML stream, at least one, or a JSON document. Empty documents among them are left out.
#[cfg(feature = "yaml")]
pub(crate) fn parse_yaml(
    bytes: &[u8],
    errors: &mut ValidationErrors,
) -> Result<Vec<Json>, Invalid> {
    // serde_norway bounds the depth of nesting as well, and the repetition of aliases.
    parse_with(bytes, errors, |bytes| {
        if let Ok(document) = serde_json::from_slice(bytes) {
            return Ok(vec![document]);
        }
        let documents = serde_norway::Deserializer::from_slice(bytes).map(Json::deserialize);
        let documents = documents.filter(|document| !matches!(document, Ok(Json::Null)));
        let documents: Result<Vec<Json>, _> = documents.collect();
        match documents {
            Ok(documents) if documents.is_empty() => Err(ErrorKind::EmptyDocument),
            Ok(documents) => Ok(documents),
            Err(error) => Err(ErrorKind::Yaml(error.to_string())),
        }
    })
}

/// Returns whether a document is JSON.
#[cfg(feature = "yaml")]
pub(crate) fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

fn parse_with<T>(
    bytes: &[u8],
    errors: &mut ValidationErrors,
    parse: impl FnOnce(&[u8]) -> Result<T, ErrorKind>,
) -> Result<T, Invalid> {
    let kind = if bytes.len() > bounds::CONFIGURATION_BYTES {
        ErrorKind::TooMany {
            found: bytes.len(),
            unit: "bytes",
            max: bounds::CONFIGURATION_BYTES,
        }
    } else if bytes.starts_with(b"\xef\xbb\xbf") {
        ErrorKind::ByteOrderMark
    } else if bytes.trim_ascii().is_empty() {
        ErrorKind::EmptyDocument
    } else {
        match parse(bytes) {
            Ok(document) => return Ok(document),
            Err(kind) => kind,
        }
    };
    Err(errors.push(&Path::Root, kind))
}

// === impl Json ===

impl Json {
    /// Returns the value of a field, if the value is an object that has it.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Json> {
        let Json::Object(entries) = self else {
            return None;
        };
        let entry = entries.iter().find(|(key, _)| key == name);
        entry.map(|(_, value)| value)
    }

    /// Returns the number that the value is or, if it is a text, writes out: Envoy makes a text of each number in a YAML
    /// file that has a decimal point or an exponent, or more than 31 bits.
    pub(crate) fn number(&self) -> Option<Json> {
        let text = match self {
            Json::Whole(_) | Json::Number(_) => return Some(self.clone()),
            Json::String(text) => text.as_str(),
            _ => return None,
        };
        let is_number =
            |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E');
        // Others, such as "inf", are numbers for Rust alone.
        if !text.bytes().all(is_number) {
            return None;
        }
        // All 64 bits of an integer count.
        if let Ok(whole) = text.parse() {
            return Some(Json::Whole(whole));
        }
        let number: f64 = text.parse().ok()?;
        number.is_finite().then(|| Json::from(number))
    }

    /// Returns what a message displays of the value, which is short whatever its size.
    pub(crate) fn found(&self) -> String {
        match self {
            Json::Null => "null".to_owned(),
            Json::Bool(value) => value.to_string(),
            Json::Whole(value) => value.to_string(),
            Json::Number(value) => value.to_string(),
            Json::String(value) => format!("{:?}", shortened(value)),
            Json::Array(_) => "a list".to_owned(),
            Json::Object(_) => "an object".to_owned(),
        }
    }
}

impl From<f64> for Json {
    /// Converts a double without a fraction to an integer: Envoy serializes a Struct, in which every number is a double.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value is an integer from 0 to 2⁵³"
    )]
    fn from(value: f64) -> Self {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if value.fract() == 0.0 && (0.0..=EXACT).contains(&value) {
            Self::Whole(value as u64)
        } else {
            Self::Number(value)
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Whole(value))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "no field takes a negative number"
    )]
    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(u64::try_from(value).map_or(Json::Number(value as f64), Json::Whole))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut entries: Vec<(String, Json)> = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Json::Object(entries))
    }
}
