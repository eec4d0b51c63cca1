//! A `google.protobuf.Struct`, written field by field.

#[cfg(test)]
pub(super) mod tests;

use super::log_value::cut;

/// The filter state that is a record, and the beginning of the keys of its values.
pub(super) const RECORD: &str = "tollgate";

/// The wire type of a length-delimited field.
const LENGTH_DELIMITED: u8 = 2;

/// `Struct.fields`, a map of which each entry is a message.
const FIELDS: u8 = 1 << 3 | LENGTH_DELIMITED;
/// The key and the value of an entry.
const KEY: u8 = FIELDS;
const VALUE: u8 = 2 << 3 | LENGTH_DELIMITED;
/// `Value.number_value`, eight bytes.
const NUMBER: u8 = 2 << 3 | 1;
/// `Value.string_value`.
const TEXT: u8 = 3 << 3 | LENGTH_DELIMITED;
/// `Value.bool_value`.
const BOOLEAN: u8 = 4 << 3;
/// `Value.struct_value`.
const STRUCTURE: u8 = 5 << 3 | LENGTH_DELIMITED;
/// `Value.list_value`.
const LIST: u8 = 6 << 3 | LENGTH_DELIMITED;
/// `ListValue.values`.
const VALUES: u8 = 1 << 3 | LENGTH_DELIMITED;

/// The longest text of a field, in bytes.
const MAX_TEXT_BYTES: usize = 4096;

/// A serialized `google.protobuf.Struct`.
///
/// Source: `google/protobuf/struct.proto`, and the encoding of protocol buffers.
#[derive(Debug, Default)]
pub(super) struct RecordStruct {
    bytes: Vec<u8>,
}

// === impl RecordStruct ===

impl RecordStruct {
    /// Returns a record without fields.
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(256),
        }
    }

    /// Adds a text. A longer one than [`MAX_TEXT_BYTES`] is cut.
    pub(super) fn text(&mut self, name: &str, value: &str) {
        let value = cut(value, MAX_TEXT_BYTES);
        let length = value
            .len()
            .saturating_add(length_of_varint(value.len()))
            .saturating_add(1);
        self.entry(name, length);
        self.bytes.push(TEXT);
        self.varint(value.len());
        self.bytes.extend_from_slice(value.as_bytes());
    }

    /// Adds a number. Above 2^53 it is rounded, as are all numbers of a `Struct`.
    #[expect(
        clippy::cast_precision_loss,
        reason = "numbers of a `Struct` are doubles"
    )]
    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.entry(name, 9);
        self.bytes.push(NUMBER);
        self.bytes.extend_from_slice(&(value as f64).to_le_bytes());
    }

    /// Adds a boolean.
    pub(super) fn boolean(&mut self, name: &str, value: bool) {
        self.entry(name, 2);
        self.bytes.push(BOOLEAN);
        self.bytes.push(value.into());
    }

    /// Adds a list of records, of which each `write` writes one.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(T, &mut Self),
    ) {
        let mut list = Vec::with_capacity(256);
        let mut of_item = Self::new();
        for item in items {
            of_item.bytes.clear();
            write(item, &mut of_item);
            let bytes = of_item.bytes.len();
            push_field(&mut list, VALUES, length_of_field(bytes));
            push_field(&mut list, STRUCTURE, bytes);
            list.extend_from_slice(&of_item.bytes);
        }
        self.entry(name, length_of_field(list.len()));
        push_field(&mut self.bytes, LIST, list.len());
        self.bytes.extend_from_slice(&list);
    }

    /// Returns the message.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Begins an entry, whose value is a message of so many bytes that follow.
    fn entry(&mut self, name: &str, value_bytes: usize) {
        let name_bytes = name.len().saturating_add(length_of_varint(name.len()));
        let value_field = value_bytes.saturating_add(length_of_varint(value_bytes));
        let length = name_bytes.saturating_add(value_field).saturating_add(2);
        self.bytes.push(FIELDS);
        self.varint(length);
        self.bytes.push(KEY);
        self.varint(name.len());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(VALUE);
        self.varint(value_bytes);
    }

    fn varint(&mut self, number: usize) {
        push_varint(&mut self.bytes, number);
    }
}

/// Appends the beginning of a field of so many bytes.
fn push_field(bytes: &mut Vec<u8>, field: u8, length: usize) {
    bytes.push(field);
    push_varint(bytes, length);
}

/// Returns the bytes that a field takes whose value has so many.
const fn length_of_field(bytes: usize) -> usize {
    bytes
        .saturating_add(length_of_varint(bytes))
        .saturating_add(1)
}

fn push_varint(bytes: &mut Vec<u8>, mut number: usize) {
    #[expect(clippy::cast_possible_truncation, reason = "seven bits are left")]
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is less than 128")]
    bytes.push(number as u8);
}

/// Returns the number of bytes that a number takes as a varint.
const fn length_of_varint(mut number: usize) -> usize {
    let mut bytes: usize = 1;
    while number >= 0x80 {
        number >>= 7;
        bytes = bytes.saturating_add(1);
    }
    bytes
}
