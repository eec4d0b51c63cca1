//! Strict readers of JSON values: each yields the value, or adds a fault and yields nothing.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use crate::fault::{FaultKind, Faults};
use crate::json::Json;
use crate::path::Path;
use crate::suggestion;

/// The fields that an object may have.
pub(crate) struct Schema {
    /// Those that are read.
    pub(crate) known: &'static [&'static str],
    /// Those that may be there and mean nothing to us.
    pub(crate) ignored: &'static [&'static str],
}

/// The fields of an object that have been checked against a [`Schema`].
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    entries: &'a [(String, Json)],
}

// === impl Fields ===

impl<'a> Fields<'a> {
    /// Reads an object. Fields that it cannot have are faults, and are passed over.
    pub(crate) fn read(
        json: &'a Json,
        path: &Path<'_>,
        schema: &Schema,
        faults: &mut Faults,
    ) -> Option<Fields<'a>> {
        let entries = entries(json, path, faults)?;
        for (name, _) in entries {
            let name = name.as_str();
            if schema.known.contains(&name) || schema.ignored.contains(&name) {
                continue;
            }
            let kind = FaultKind::UnknownField {
                suggestion: (!faults.is_full())
                    .then(|| suggestion::closest(name, schema.known.iter().copied()))
                    .flatten(),
            };
            faults.push(&path.field(name), kind);
        }
        Some(Fields { entries })
    }

    /// The value of a field, if it is there.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Json> {
        self.entries
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// The value of a field that has to be there.
    pub(crate) fn require(
        &self,
        name: &str,
        path: &Path<'_>,
        faults: &mut Faults,
    ) -> Option<&'a Json> {
        let value = self.get(name);
        if value.is_none() {
            faults.push(&path.field(name), FaultKind::Missing);
        }
        value
    }

    /// Reads an optional field with `reader`: its value or `default`, or nothing after a fault.
    pub(crate) fn read_or<T>(
        &self,
        name: &str,
        path: &Path<'_>,
        faults: &mut Faults,
        default: impl FnOnce() -> T,
        reader: impl FnOnce(&'a Json, &Path<'_>, &mut Faults) -> Option<T>,
    ) -> Option<T> {
        match self.get(name) {
            Some(value) => reader(value, &path.field(name), faults),
            None => Some(default()),
        }
    }

    /// Reads an optional field with `reader`: its value or none, or nothing after a fault.
    #[allow(clippy::option_option)]
    pub(crate) fn read_optional<T>(
        &self,
        name: &str,
        path: &Path<'_>,
        faults: &mut Faults,
        reader: impl FnOnce(&'a Json, &Path<'_>, &mut Faults) -> Option<T>,
    ) -> Option<Option<T>> {
        self.read_or(
            name,
            path,
            faults,
            || None,
            |json, path, faults| reader(json, path, faults).map(Some),
        )
    }
}

// === readers ===

/// Adds a fault: the value is not what its place takes.
pub(crate) fn expected(
    json: &Json,
    expected: impl Into<String>,
    path: &Path<'_>,
    faults: &mut Faults,
) {
    faults.push(
        path,
        FaultKind::Expected {
            expected: expected.into(),
            found: json.found(),
        },
    );
}

/// The entries of an object, in order; keys that are given more than once are faults.
pub(crate) fn entries<'a>(
    json: &'a Json,
    path: &Path<'_>,
    faults: &mut Faults,
) -> Option<&'a [(String, Json)]> {
    let Json::Object(entries) = json else {
        expected(json, "an object", path, faults);
        return None;
    };
    let mut seen = std::collections::BTreeSet::new();
    for (name, _) in entries {
        if !seen.insert(name.as_str()) {
            faults.push(&path.field(name), FaultKind::DuplicateKey);
        }
    }
    Some(entries)
}

/// A list of at most `most` items, `unit` being what they are.
pub(crate) fn list<'a>(
    json: &'a Json,
    unit: &'static str,
    most: usize,
    path: &Path<'_>,
    faults: &mut Faults,
) -> Option<&'a [Json]> {
    let Json::Array(items) = json else {
        expected(json, "a list", path, faults);
        return None;
    };
    at_most(items.len(), unit, most, path, faults).then_some(items)
}

/// Whether a number of things keeps its bound; a fault if it does not.
pub(crate) fn at_most(
    found: usize,
    unit: &'static str,
    most: usize,
    path: &Path<'_>,
    faults: &mut Faults,
) -> bool {
    if found > most {
        faults.push(path, FaultKind::TooMany { unit, found, most });
    }
    found <= most
}

/// A string of 1 to `most` bytes.
pub(crate) fn text<'a>(
    json: &'a Json,
    most: usize,
    path: &Path<'_>,
    faults: &mut Faults,
) -> Option<&'a str> {
    let Json::String(text) = json else {
        expected(json, "a string", path, faults);
        return None;
    };
    if text.trim().is_empty() {
        faults.push(path, FaultKind::MustNotBeEmpty);
        return None;
    }
    at_most(text.len(), "bytes", most, path, faults).then_some(text)
}

/// A string that names something: no control characters and no white space.
pub(crate) fn name(
    json: &Json,
    most: usize,
    path: &Path<'_>,
    faults: &mut Faults,
) -> Option<String> {
    let name = text(json, most, path, faults)?;
    is_name(name, path, faults).then(|| name.to_owned())
}

/// Whether a key or a string can be a name; a fault if it cannot.
pub(crate) fn is_name(name: &str, path: &Path<'_>, faults: &mut Faults) -> bool {
    let malformed = name.chars().any(|c| c.is_control() || c.is_whitespace());
    if malformed {
        faults.push(
            path,
            FaultKind::Malformed("a name must not contain white space or control characters"),
        );
    }
    !malformed
}

/// A whole number within a range.
pub(crate) fn whole(
    json: &Json,
    range: &RangeInclusive<u64>,
    path: &Path<'_>,
    faults: &mut Faults,
) -> Option<u64> {
    match json {
        Json::Whole(value) if range.contains(value) => Some(*value),
        _ => {
            let bounds = format!("a whole number from {} to {}", range.start(), range.end());
            expected(json, bounds, path, faults);
            None
        }
    }
}

/// A fraction of one within a range, both in parts per million: `0.8` is 800 000.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Saturates, and is bounded then.
pub(crate) fn fraction(
    json: &Json,
    range: &RangeInclusive<u32>,
    path: &Path<'_>,
    faults: &mut Faults,
) -> Option<u32> {
    const ONE: f64 = 1_000_000.0;
    if let Json::Number(value) = json {
        let parts = (value * ONE).round() as u32;
        if range.contains(&parts) {
            return Some(parts);
        }
    }
    let [least, most] = [range.start(), range.end()].map(|parts| f64::from(*parts) / ONE);
    let bounds = format!("a fraction from {least} to {most}");
    expected(json, bounds, path, faults);
    None
}

/// `true` or `false`.
pub(crate) fn boolean(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<bool> {
    if let Json::Bool(value) = json {
        Some(*value)
    } else {
        expected(json, "true or false", path, faults);
        None
    }
}

/// One of a set of words.
pub(crate) fn choice<T: Copy>(
    json: &Json,
    choices: &[(&str, T)],
    path: &Path<'_>,
    faults: &mut Faults,
) -> Option<T> {
    if let Json::String(word) = json
        && let Some((_, value)) = choices.iter().find(|(name, _)| name == word)
    {
        return Some(*value);
    }
    let mut words = String::new();
    for (position, (name, _)) in choices.iter().enumerate() {
        let separator = match position {
            0 => "",
            _ if position.saturating_add(1) == choices.len() => " or ",
            _ => ", ",
        };
        // Writing into a string cannot fail.
        let _ = write!(words, "{separator}{name:?}");
    }
    expected(json, words, path, faults);
    None
}
