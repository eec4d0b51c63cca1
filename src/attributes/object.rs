//! A CEL map of a few fields, such as the claims of a caller.
//!
//! It is made and read at every request: a list of pairs costs a fraction of the library's hash map to
//! build, to search and to drop, as long as there are few of them, which is when it is used.

use super::fields::{Field, FieldMap, Fields};
use super::value::Value;
use cel::ExecutionError;
use cel::common::types::{CelMap, CelMapKey, CelString};
use cel::common::value::Val;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// More fields than this make a hash map.
const MAX_FIELDS: usize = 16;

/// A map from names to values. Its copies share them, so that none takes work or memory.
#[derive(Clone, Debug, Default)]
struct Object(Arc<[(CelString<'static>, Value)]>);

/// Returns the map of these fields, no two of one name.
pub(super) fn value(fields: impl ExactSizeIterator<Item = (String, Value)>) -> Value {
    if fields.len() > MAX_FIELDS {
        let entries = fields.map(|(name, value)| (CelMapKey::from(name), value));
        return Box::new(CelMap::from(entries.collect::<HashMap<_, _>>()));
    }
    self::fields(fields)
}

/// Returns the map of these fields, no two of one name, as a list of pairs however many there are: it can
/// only be asked for a field.
pub(super) fn fields(fields: impl Iterator<Item = (String, Value)>) -> Value {
    let fields = fields.map(|(name, value)| (CelString::from(name), value));
    Box::new(FieldMap(Object(fields.collect())))
}

/// Returns a copy of a map of [`fields`] with some of them only; of another value, all of it.
pub(super) fn part<'a>(value: &Value, names: impl Iterator<Item = &'a str>) -> Value {
    let Some(FieldMap(object)) = value.downcast_ref::<FieldMap<Object>>() else {
        return value.clone();
    };
    fields(names.filter_map(|name| Some((name.to_owned(), object.get(name)?.clone()))))
}

/// Returns the value at a path, names joined with dots, below a value; `None` also where a value on
/// the path is no map that [`value`] made of few fields.
pub(super) fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    let mut names = path.split('.').filter(|_| !path.is_empty());
    names.try_fold(value, |value, name| {
        value.downcast_ref::<FieldMap<Object>>()?.0.get(name)
    })
}

// === impl Object ===

impl Object {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|(known, _)| known.inner() == name)
            .map(|(_, value)| value)
    }
}

impl Fields for Object {
    fn field(&self, name: &str) -> Option<Field<'_>> {
        self.get(name).map(Field::Kept)
    }

    fn names(&self) -> impl ExactSizeIterator<Item = &CelString<'static>> {
        self.0.iter().map(|(name, _)| name)
    }

    fn name(key: &dyn Val) -> Result<Cow<'_, str>, ExecutionError> {
        key.downcast_ref::<CelString>()
            .map(|name| Cow::Borrowed(name.inner()))
            .ok_or_else(|| ExecutionError::no_such_key(key.get_type().name()))
    }

    fn equals(&self, other: &dyn Val) -> bool {
        let all = |len: usize, equal: &dyn Fn(&str, &Value) -> bool| {
            let mut fields = self.0.iter();
            len == self.0.len() && fields.all(|(name, value)| equal(name.inner(), value))
        };
        if let Some(FieldMap(other)) = other.downcast_ref::<FieldMap<Self>>() {
            all(other.0.len(), &|name, value| {
                other.get(name).is_some_and(|other| value.equals(&**other))
            })
        } else if let Some(other) = other.downcast_ref::<CelMap<'_>>() {
            all(other.len(), &|name, value| {
                let other = other.inner().get(&CelMapKey::from(name.to_owned()));
                other.is_some_and(|other| value.equals(&**other))
            })
        } else {
            false
        }
    }
}
