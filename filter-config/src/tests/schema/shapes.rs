//! Shapes that several parts of the schema have.

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use crate::bounds;
use crate::fields::Schema;

const WINDOW: &str =
    r"^\+?([0-9]+(\.[0-9]*)?(ns|us|µs|μs|ms|s|m|h|d|w)|\.[0-9]+(ns|us|µs|μs|ms|s|m|h|d|w))+$";

const POINTER: &str = "^(/([^/~]|~[01])*)+$";

/// An object with the fields of its reader, and no others. Those that are not required can be null.
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
    for (name, property) in &mut properties {
        if !required.contains(&name.as_str()) {
            *property = nullable(property);
        }
    }
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

/// A schema that null matches too.
pub(super) fn nullable(schema: &Value) -> Value {
    let mut schema = schema.clone();
    let none = json!({ "type": "null" });
    let Some(fields) = schema.as_object_mut() else {
        return schema;
    };
    if let Some(Value::Array(values)) = fields.get_mut("enum") {
        values.push(Value::Null);
    } else if let Some(Value::Array(of)) = fields.get_mut("anyOf") {
        of.push(none);
    } else if let Some(Value::Array(of)) = fields.get_mut("oneOf") {
        of.push(none);
    } else if let Some(value) = fields.remove("const") {
        fields.insert("enum".to_owned(), json!([value, null]));
    } else if let Some(reference) = fields.remove("$ref") {
        fields.insert("anyOf".to_owned(), json!([{ "$ref": reference }, none]));
    } else if let Some(of) = fields.get_mut("type") {
        *of = json!([of, "null"]);
    }
    schema
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

/// The name of a limit.
pub(super) fn limit_name() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": bounds::NAME_BYTES, "pattern": r"^[^\x00-\x1F\x7F-\x9F]+$" })
}

pub(super) fn name() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": bounds::NAME_BYTES, "pattern": r"^\S+$" })
}

pub(super) fn resource_name() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": bounds::NAME_BYTES, "pattern": r"^[^\s/]+$" })
}

/// A whole number, which can be a text.
pub(super) fn whole(range: &RangeInclusive<u64>) -> Value {
    json!({
        "anyOf": [
            { "type": "integer", "minimum": range.start(), "maximum": range.end() },
            number_as_text()
        ]
    })
}

/// A number as the text that Envoy makes of one in YAML.
pub(super) fn number_as_text() -> Value {
    json!({ "type": "string", "pattern": r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$" })
}

/// A size: a number of bytes, or a text with a unit.
pub(super) fn size(range: &RangeInclusive<u64>) -> Value {
    json!({
        "anyOf": [
            { "type": "integer", "minimum": range.start(), "maximum": range.end() },
            number_as_text(),
            { "type": "string", "maxLength": 24, "pattern": "^[0-9]+(KiB|MiB|GiB)$" }
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
            number_as_text()
        ]
    })
}

/// A duration.
pub(super) fn window(text: &str) -> Value {
    json!({ "description": text, "type": "string", "maxLength": 64, "pattern": WINDOW })
}
