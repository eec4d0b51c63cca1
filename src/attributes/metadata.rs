//! Dynamic metadata: protobuf Structs as CEL values.
//!
//! Envoy also gives single leaves, but with their types lost (a string of eight bytes looks like a
//! number, a list like a map), and no namespace that holds a null. The whole message keeps them.

use super::object::Object;
use super::{AttributeError, Value};
use cel::common::types::{CelBool, CelDouble, CelList, CelMap, CelMapKey, CelNull, CelString};
use prost::Message;
use prost_types::{Struct, value::Kind};
use std::collections::{BTreeMap, HashMap};

/// `envoy.config.core.v3.Metadata`, each namespace still in its serialised form.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Metadata {
    /// The namespaces: serialised `google.protobuf.Struct`s.
    #[prost(btree_map = "string, bytes", tag = "1")]
    pub(super) filter_metadata: BTreeMap<String, Vec<u8>>,
}

impl Metadata {
    /// Reads the message.
    ///
    /// # Errors
    /// [`AttributeError::Encoding`] when it is none.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, AttributeError> {
        Message::decode(bytes)
            .map_err(|_| AttributeError::Encoding("metadata", bytes.len(), "a Metadata message"))
    }

    /// The Struct of a namespace, `None` where there is none or it holds nothing.
    ///
    /// # Errors
    /// [`AttributeError::Encoding`] when the namespace holds no Struct, or one that nests too deep.
    pub(super) fn namespace(&self, name: &str) -> Result<Option<Value>, AttributeError> {
        let Some(bytes) = self.filter_metadata.get(name) else {
            return Ok(None);
        };
        let fields = decode_struct(bytes)?.fields;
        Ok((!fields.is_empty()).then(|| map(fields)))
    }

    /// The message as CEL sees it: a map with the one field `filter_metadata`. A namespace that
    /// cannot be read is left out.
    pub(super) fn value(&self) -> Value {
        let namespaces = self.filter_metadata.iter().filter_map(|(name, bytes)| {
            let fields = decode_struct(bytes).ok()?.fields;
            Some((CelMapKey::from(name.clone()), map(fields)))
        });
        let namespaces: Value = Box::new(CelMap::from(namespaces.collect::<HashMap<_, _>>()));
        Box::new(CelMap::from(HashMap::from([(
            CelMapKey::from("filter_metadata"),
            namespaces,
        )])))
    }
}

/// Reads a Struct; the depth that it may nest to is prost's.
fn decode_struct(bytes: &[u8]) -> Result<Struct, AttributeError> {
    Struct::decode(bytes)
        .map_err(|_| AttributeError::Encoding("metadata", bytes.len(), "a Struct message"))
}

fn map(fields: BTreeMap<String, prost_types::Value>) -> Value {
    let fields = fields.into_iter();
    Object::value(fields.map(|(name, field)| (name, value(field))))
}

fn value(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Box::new(CelNull),
        Some(Kind::BoolValue(bool)) => Box::new(CelBool::from(bool)),
        Some(Kind::NumberValue(number)) => Box::new(CelDouble::from(number)),
        Some(Kind::StringValue(string)) => Box::new(CelString::from(string)),
        Some(Kind::ListValue(list)) => {
            let items: Vec<Value> = list.values.into_iter().map(self::value).collect();
            Box::new(CelList::from(items))
        }
        Some(Kind::StructValue(fields)) => map(fields.fields),
    }
}
