//! Objects with a fixed set of fields.

use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::json::Json;
use crate::path::Path;
use crate::reader;
use crate::suggestion;

/// Fields of the first drafts of Kuadrant's policies, each with the field that it has become, and its form.
const SINGULAR: [(&str, &str, &str); 2] = [
    ("predicate", "when", r#""when": [ { "predicate": ... } ]"#),
    (
        "counter",
        "counters",
        r#""counters": [ { "expression": ... } ]"#,
    ),
];

/// The fields that an object may have.
pub(crate) struct Schema {
    /// Fields that are read.
    pub(crate) known: &'static [&'static str],
    /// Fields that are accepted and have no effect.
    pub(crate) ignored: &'static [&'static str],
}

/// The fields of an object that has been checked against a [`Schema`].
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    entries: &'a [(String, Json)],
}

// === impl Fields ===

impl<'a> Fields<'a> {
    /// Reads an object. Unknown fields are errors, and the others are read all the same.
    pub(crate) fn read(
        json: &'a Json,
        path: &Path<'_>,
        schema: &Schema,
        errors: &mut ValidationErrors,
    ) -> Result<Fields<'a>, Invalid> {
        let entries = reader::entries(json, path, errors)?;
        for (name, _) in entries {
            let name = name.as_str();
            if schema.known.contains(&name) || schema.ignored.contains(&name) {
                continue;
            }
            // The comparison is wasted where the error is only counted.
            let instead = if errors.is_full() {
                String::new()
            } else {
                let mut singular = SINGULAR.iter();
                let known = singular.find(|(found, ..)| *found == name);
                match known.filter(|(_, field, _)| schema.known.contains(field)) {
                    Some((_, _, form)) => format!("did you mean {form}?"),
                    None => suggestion::instead(name, schema.known),
                }
            };
            errors.push(&path.field(name), ErrorKind::UnknownField { instead });
        }
        Ok(Fields { entries })
    }

    /// Returns the value of a field, if there is one. As in Kubernetes, null is none.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Json> {
        let found = self.entries.iter().find(|(key, _)| key == name);
        let value = found.map(|(_, value)| value);
        value.filter(|value| !matches!(value, Json::Null))
    }

    /// Reads a required field with `reader`.
    pub(crate) fn require<T>(
        &self,
        name: &str,
        path: &Path<'_>,
        errors: &mut ValidationErrors,
        reader: impl FnOnce(&'a Json, &Path<'_>, &mut ValidationErrors) -> Result<T, Invalid>,
    ) -> Result<T, Invalid> {
        let path = path.field(name);
        match self.get(name) {
            Some(value) => reader(value, &path, errors),
            None => Err(errors.push(&path, ErrorKind::MissingField)),
        }
    }

    /// Reads an optional field with `reader`, and returns `default` without the field.
    pub(crate) fn read_or<T>(
        &self,
        name: &str,
        path: &Path<'_>,
        errors: &mut ValidationErrors,
        default: impl FnOnce() -> T,
        reader: impl FnOnce(&'a Json, &Path<'_>, &mut ValidationErrors) -> Result<T, Invalid>,
    ) -> Result<T, Invalid> {
        match self.get(name) {
            Some(value) => reader(value, &path.field(name), errors),
            None => Ok(default()),
        }
    }

    /// Reads an optional field with `reader`.
    pub(crate) fn read_optional<T>(
        &self,
        name: &str,
        path: &Path<'_>,
        errors: &mut ValidationErrors,
        reader: impl FnOnce(&'a Json, &Path<'_>, &mut ValidationErrors) -> Result<T, Invalid>,
    ) -> Result<Option<T>, Invalid> {
        match self.get(name) {
            Some(value) => reader(value, &path.field(name), errors).map(Some),
            None => Ok(None),
        }
    }
}
