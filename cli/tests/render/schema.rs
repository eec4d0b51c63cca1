//! The structure of Kubernetes resources: fields, types, what is required, and what values are permitted.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

/// What a value has to be.
pub(crate) enum Schema {
    Boolean,
    Integer(RangeInclusive<u64>),
    /// A text of a number of characters.
    Text(RangeInclusive<usize>),
    Choice(&'static [&'static str]),
    /// 64 hexadecimal digits.
    Sha256,
    /// An object of texts.
    Texts,
    /// Anything, as `x-kubernetes-preserve-unknown-fields` permits.
    Anything,
    /// An object with fields of any name.
    Preserved,
    List(RangeInclusive<usize>, &'static Schema),
    Object {
        required: &'static [&'static str],
        fields: &'static [(&'static str, &'static Schema)],
        /// Fields of which at most one is set.
        exclusive: &'static [&'static str],
    },
}

/// Any text.
pub(crate) const TEXT: Schema = Schema::Text(0..=usize::MAX);
/// A text that is not empty.
pub(crate) const NAME: Schema = Schema::Text(1..=253);

// === impl Schema ===

impl Schema {
    /// Adds what is wrong with a value.
    pub(crate) fn check(&self, value: &Value, path: &str, errors: &mut Vec<String>) {
        let expected = match (self, value) {
            (Self::Anything, _)
            | (Self::Boolean, Value::Bool(_))
            | (Self::Preserved, Value::Object(_)) => return,
            (Self::Integer(range), Value::Number(number)) => {
                if number
                    .as_u64()
                    .is_some_and(|number| range.contains(&number))
                {
                    return;
                }
                format!("{range:?}")
            }
            (Self::Text(length), Value::String(text)) => {
                if length.contains(&text.chars().count()) {
                    return;
                }
                format!("a text of {length:?} characters")
            }
            (Self::Choice(choices), Value::String(text)) => {
                if choices.contains(&text.as_str()) {
                    return;
                }
                format!("one of {choices:?}")
            }
            (Self::Sha256, Value::String(text)) => {
                let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
                if text.len() == 64 && text.bytes().all(is_digit) {
                    return;
                }
                "64 hexadecimal digits".to_owned()
            }
            (Self::Texts, Value::Object(fields)) => {
                if fields.values().all(Value::is_string) {
                    return;
                }
                "texts".to_owned()
            }
            (Self::List(length, schema), Value::Array(items)) => {
                for (position, item) in items.iter().enumerate() {
                    schema.check(item, &format!("{path}[{position}]"), errors);
                }
                if length.contains(&items.len()) {
                    return;
                }
                format!("{length:?} items")
            }
            (
                Self::Object {
                    required,
                    fields,
                    exclusive,
                },
                Value::Object(found),
            ) => {
                object(required, fields, exclusive, found, path, errors);
                return;
            }
            _ => "another type".to_owned(),
        };
        errors.push(format!("{path}: found {value}, expected {expected}"));
    }
}

fn object(
    required: &[&str],
    fields: &[(&str, &Schema)],
    exclusive: &[&str],
    found: &Map<String, Value>,
    path: &str,
    errors: &mut Vec<String>,
) {
    for (name, value) in found {
        let path = format!("{path}.{name}");
        match fields.iter().find(|(known, _)| known == name) {
            Some((_, schema)) => schema.check(value, &path, errors),
            None => errors.push(format!("{path}: unknown field")),
        }
    }
    for name in required {
        if !found.contains_key(*name) {
            errors.push(format!("{path}.{name}: missing"));
        }
    }
    if exclusive
        .iter()
        .filter(|name| found.contains_key(**name))
        .count()
        > 1
    {
        errors.push(format!("{path}: more than one of {exclusive:?}"));
    }
}
