//! Dynamic metadata: protobuf Structs as CEL values.
//!
//! Envoy also returns single leaves, but their types are lost (a string of eight bytes reads like a
//! number, a list like a map), and so are whole namespaces that contain a null. The message as a whole
//! keeps both.

use super::error::AttributeError;
use super::object;
use super::value::{Value, string};
use crate::host::Host;
use cel::common::types::{CelBool, CelDouble, CelList, CelMap, CelMapKey, CelNull};
use prost::Message;
use prost_types::{Struct, value::Kind};
use std::collections::{BTreeMap, HashMap};

/// `envoy.config.core.v3.Metadata`, with each namespace still in its serialized form.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Metadata {
    /// The namespaces: serialized `google.protobuf.Struct`s.
    #[prost(btree_map = "string, bytes", tag = "1")]
    pub(crate) filter_metadata: BTreeMap<String, Vec<u8>>,
}

/// The dynamic metadata of an exchange, read from the host once.
#[derive(Debug, Default)]
pub(super) struct DynamicMetadata {
    metadata: Option<Metadata>,
    /// The size of the message.
    size: usize,
}

// === impl DynamicMetadata ===

impl DynamicMetadata {
    /// Returns the metadata, read now if it was not before.
    ///
    /// # Errors
    /// [`AttributeError`] when Envoy fails or its answer is no such message.
    pub(super) fn get(&mut self, host: &dyn Host) -> Result<&Metadata, AttributeError> {
        if self.metadata.is_none() {
            let bytes = host
                .property(&["metadata"])
                .map_err(|error| AttributeError::Property("metadata", error))?;
            let bytes = bytes.unwrap_or_default();
            self.size = bytes.len();
            self.metadata = Some(Metadata::parse(&bytes)?);
        }
        Ok(self.metadata.get_or_insert_default())
    }

    /// Returns the size of the message that was read, in bytes.
    pub(super) const fn size(&self) -> usize {
        self.size
    }
}

// === impl Metadata ===

impl Metadata {
    /// Parses the message.
    ///
    /// # Errors
    /// [`AttributeError::Encoding`] when the bytes are none.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, AttributeError> {
        Message::decode(bytes)
            .map_err(|_| AttributeError::Encoding("metadata", bytes.len(), "a Metadata message"))
    }

    /// Returns the Struct of a namespace, or the one within it that keys lead to; `None` where there is none or it is
    /// empty.
    ///
    /// # Errors
    /// [`AttributeError::Encoding`] when the namespace is no Struct, or one that nests too deep.
    pub(super) fn at(
        &self,
        namespace: &str,
        keys: &[String],
    ) -> Result<Option<Value>, AttributeError> {
        let Some(bytes) = self.filter_metadata.get(namespace) else {
            return Ok(None);
        };
        let mut fields = parse_struct(bytes)?.fields;
        for key in keys {
            match fields.remove(key).and_then(|field| field.kind) {
                Some(Kind::StructValue(inner)) => fields = inner.fields,
                _ => return Ok(None),
            }
        }
        Ok((!fields.is_empty()).then(|| from_struct(fields)))
    }

    /// Returns the message as CEL sees it: a map with the one field `filter_metadata`. A namespace
    /// that cannot be parsed is left out.
    pub(super) fn value(&self) -> Value {
        let namespaces = self.filter_metadata.iter().filter_map(|(name, bytes)| {
            let fields = parse_struct(bytes).ok()?.fields;
            Some((CelMapKey::from(name.clone()), from_struct(fields)))
        });
        let namespaces: Value = Box::new(CelMap::from(namespaces.collect::<HashMap<_, _>>()));
        Box::new(CelMap::from(HashMap::from([(
            CelMapKey::from("filter_metadata"),
            namespaces,
        )])))
    }
}

/// Parses a Struct. prost bounds how deep it nests.
fn parse_struct(bytes: &[u8]) -> Result<Struct, AttributeError> {
    Struct::decode(bytes)
        .map_err(|_| AttributeError::Encoding("metadata", bytes.len(), "a Struct message"))
}

fn from_struct(fields: BTreeMap<String, prost_types::Value>) -> Value {
    let fields = fields.into_iter();
    object::value(fields.map(|(name, field)| (name, from_field(field))))
}

fn from_field(field: prost_types::Value) -> Value {
    match field.kind {
        None | Some(Kind::NullValue(_)) => Box::new(CelNull),
        Some(Kind::BoolValue(bool)) => Box::new(CelBool::from(bool)),
        Some(Kind::NumberValue(number)) => Box::new(CelDouble::from(number)),
        Some(Kind::StringValue(text)) => string(text),
        Some(Kind::ListValue(list)) => {
            let items: Vec<Value> = list.values.into_iter().map(from_field).collect();
            Box::new(CelList::from(items))
        }
        Some(Kind::StructValue(fields)) => from_struct(fields.fields),
    }
}
