//! Shapes that several parts of the schema have.

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use crate::bounds;
use crate::fields::Schema;

const WINDOW: &str =
    r"^\+?([0-9]+(\.[0-9]*)?(ns|us|µs|μs|ms|s|m|h|d|w)|\.[0-9]+(ns|us|µs|μs|ms|s|m|h|d|w))+$";

const POINTER: &str = "^(/([^/~]|~[01])*)+$";

/// An object with the fields of its reader, and no others.
pub(super) fn object(fields: &Schema, required: &[&str], properties: &Value) -> Value {
    let mut properties: Map<String, Value> = properties.as_object().unwrap().clone();
    let mut described: Vec<&str> = properties.keys().map(String::as_str).collect();
    let mut known = fields.known.to_vec();
    described.sort_unstable();
    known.sort_unstable();
    assert_eq!(
        described, known,
        "the fields of the schema and of the reader"
    );
    for ignored in fields.ignored {
        properties.insert((*ignored).to_owned(), json!(true));
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false
    })
}

/// A schema with a description.
pub(super) fn described(text: &str, mut schema: Value) -> Value {
    schema["description"] = json!(text);
    schema
}

pub(super) fn list(min: usize, max: usize, items: &Value) -> Value {
    json!({ "type": "array", "minItems": min, "maxItems": max, "items": items })
}

pub(super) fn text(max: usize) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": max })
}

pub(super) fn name() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": bounds::NAME_BYTES, "pattern": r"^\S+$" })
}

pub(super) fn resource_name() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": bounds::NAME_BYTES, "pattern": r"^[^\s/]+$" })
}

pub(super) fn whole(range: &RangeInclusive<u64>) -> Value {
    json!({ "type": "integer", "minimum": range.start(), "maximum": range.end() })
}

/// A size: a number of bytes, or a text with a unit.
pub(super) fn size(range: &RangeInclusive<u64>) -> Value {
    json!({
        "anyOf": [
            whole(range),
            { "type": "string", "maxLength": 24, "pattern": "^[0-9]+(KiB|MiB|GiB)?$" }
        ]
    })
}

pub(super) fn cel(text: &str) -> Value {
    json!({
        "description": format!("CEL: {text}"),
        "type": "string",
        "minLength": 1,
        "maxLength": bounds::EXPRESSION_BYTES
    })
}

pub(super) fn pointers(count: &RangeInclusive<usize>) -> Value {
    list(*count.start(), *count.end(), &pointer())
}

/// A JSON pointer, or a sum of them.
pub(super) fn pointer() -> Value {
    json!({ "type": "string", "maxLength": bounds::POINTER_BYTES, "pattern": POINTER })
}

/// An amount of US dollars.
pub(super) fn usd(text: &str) -> Value {
    json!({
        "description": text,
        "anyOf": [
            { "type": "number", "minimum": 0 },
            { "type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,9})?$" }
        ]
    })
}

/// A duration.
pub(super) fn window(text: &str) -> Value {
    json!({ "description": text, "type": "string", "maxLength": 64, "pattern": WINDOW })
}
