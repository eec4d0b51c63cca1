//! A configuration that Envoy was given as a `google.protobuf.Struct`.
//!
//! Envoy hands a `StringValue` to the module as its text, and of any other message the serialised
//! bytes: a Struct has to be decoded here.

use prost::Message;
use prost_types::{Struct, Value, value::Kind};
use serde_json::{Map, Number};
use std::borrow::Cow;

/// The first byte of a serialised Struct that has fields: field 1, of type message. It is also a
/// line feed, with which JSON may begin; but JSON that happened to decode as a Struct to its last
/// byte would have control characters for lengths.
const FIELD: u8 = 0x0a;

/// Returns a configuration as JSON, whichever of the two it came as.
pub(super) fn json(bytes: &[u8]) -> Cow<'_, [u8]> {
    if bytes.first() != Some(&FIELD) {
        return Cow::Borrowed(bytes);
    }
    match Struct::decode(bytes) {
        Ok(structure) => Cow::Owned(object(structure).to_string().into_bytes()),
        Err(_) => Cow::Borrowed(bytes),
    }
}

fn object(structure: Struct) -> serde_json::Value {
    let fields = structure.fields.into_iter();
    let fields: Map<_, _> = fields.map(|(name, field)| (name, value(field))).collect();
    fields.into()
}

/// Returns a value as JSON. The numbers of a Struct are doubles; one that JSON cannot express becomes
/// null, and validation rejects it with its path.
fn value(value: Value) -> serde_json::Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(bool)) => bool.into(),
        Some(Kind::NumberValue(number)) => Number::from_f64(number).into(),
        Some(Kind::StringValue(string)) => string.into(),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(self::value).collect(),
        Some(Kind::StructValue(structure)) => object(structure),
    }
}
