//! Dynamic metadata in the form in which Envoy returns it.

use std::collections::HashMap;

use prost::Message;
use prost_types::{ListValue, Struct, Value, value::Kind};
use serde_json::Map;

/// `envoy.config.core.v3.Metadata`.
#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(map = "string, message", tag = "1")]
    filter_metadata: HashMap<String, Struct>,
}

/// Returns the serialized message of namespaces, those that are objects.
pub(super) fn message(namespaces: &Map<String, serde_json::Value>) -> Vec<u8> {
    let namespaces = namespaces.iter().filter_map(|(name, value)| match value {
        serde_json::Value::Object(fields) => Some((name.clone(), structure(fields))),
        _ => None,
    });
    let filter_metadata = namespaces.collect();
    Metadata { filter_metadata }.encode_to_vec()
}

fn structure(fields: &Map<String, serde_json::Value>) -> Struct {
    let fields = fields.iter();
    Struct {
        fields: fields
            .map(|(name, value)| (name.clone(), of(value)))
            .collect(),
    }
}

fn of(json: &serde_json::Value) -> Value {
    let kind = match json {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(bool) => Kind::BoolValue(*bool),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::MAX)),
        serde_json::Value::String(text) => Kind::StringValue(text.clone()),
        serde_json::Value::Array(items) => Kind::ListValue(ListValue {
            values: items.iter().map(of).collect(),
        }),
        serde_json::Value::Object(fields) => Kind::StructValue(structure(fields)),
    };
    Value { kind: Some(kind) }
}
