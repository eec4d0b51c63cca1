//! The configuration as a JSON tree that keeps every entry, so that repeated keys are seen.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::path::{Path, shortened};

/// A JSON value. An object keeps its entries in order, including repeated ones.
#[derive(Clone, Debug)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// A number that is an integer from 0 to 2⁶⁴ - 1 in any notation: `50`, `50.0`, `5e1`.
    Whole(u64),
    /// Any other number.
    Number(f64),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Parses a JSON document.
pub(crate) fn parse(bytes: &[u8], errors: &mut ValidationErrors) -> Result<Json, Invalid> {
    // serde_json bounds the depth of nesting, and rejects bytes after the document.
    parse_with(bytes, errors, |bytes| {
        serde_json::from_slice(bytes).map_err(|error| ErrorKind::Json(error.to_string()))
    })
}

/// Parses a YAML or JSON document.
#[cfg(feature = "yaml")]
pub(crate) fn parse_yaml(bytes: &[u8], errors: &mut ValidationErrors) -> Result<Json, Invalid> {
    // serde_norway bounds the depth of nesting as well, and the repetition of aliases.
    parse_with(bytes, errors, |bytes| {
        serde_json::from_slice(bytes)
            .or_else(|_| serde_norway::from_slice(bytes))
            .map_err(|error| match second_document(bytes) {
                Some(line) => ErrorKind::SecondDocument { line },
                None => ErrorKind::Yaml(error.to_string()),
            })
    })
}

/// Returns the line, from 1, on which the second document of a YAML stream begins, if it has more than one.
#[cfg(feature = "yaml")]
fn second_document(yaml: &[u8]) -> Option<usize> {
    let documents = serde_norway::Deserializer::from_slice(yaml);
    if documents.take(2).count() < 2 {
        return None;
    }
    let mut is_within = false;
    yaml.split(|byte| *byte == b'\n')
        .zip(1..)
        .find_map(|(line, number)| {
            let begins = match line.strip_prefix(b"---") {
                Some(rest) => rest.first().is_none_or(u8::is_ascii_whitespace),
                None => false,
            };
            if begins && is_within {
                return Some(number);
            }
            // Comments and directives precede the document.
            is_within |= !matches!(line.trim_ascii().first(), None | Some(b'#' | b'%'));
            None
        })
}

fn parse_with(
    bytes: &[u8],
    errors: &mut ValidationErrors,
    parse: impl FnOnce(&[u8]) -> Result<Json, ErrorKind>,
) -> Result<Json, Invalid> {
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
    pub(crate) fn field(&self, name: &str) -> Option<&Json> {
        let Json::Object(entries) = self else {
            return None;
        };
        let entry = entries.iter().find(|(key, _)| key == name);
        entry.map(|(_, value)| value)
    }

    /// Takes the value of a field, if the value is an object that has it.
    #[cfg(feature = "yaml")]
    pub(crate) fn into_field(self, name: &str) -> Option<Json> {
        let Json::Object(entries) = self else {
            return None;
        };
        let mut entries = entries.into_iter();
        entries.find(|(key, _)| key == name).map(|(_, value)| value)
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

    /// Takes an integer for what it is: Envoy serializes a Struct, in which every number is a double.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value is an integer from 0 to 2⁵³"
    )]
    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if value.fract() == 0.0 && (0.0..=EXACT).contains(&value) {
            Ok(Json::Whole(value as u64))
        } else {
            Ok(Json::Number(value))
        }
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
