//! A CEL map of a few fields, such as the claims of a caller.
//!
//! Made and read at every request: a list of pairs costs a fraction of the library's hash map to
//! build, to search and to drop, as long as there are few of them, which is when it is used.

use super::Value;
use super::map::shows_a_map;
use cel::ExecutionError;
use cel::common::traits::{Container, Indexer, Iterable, Iterator, Sizer};
use cel::common::types::{CelInt, CelMap, CelMapKey, CelString, MAP_TYPE, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use std::any::Any;

/// More fields than this make a hash map.
const MOST: usize = 16;

/// A map from names to values.
#[derive(Clone, Debug, Default)]
pub(super) struct Object(Vec<(CelString<'static>, Value)>);

// === impl Object ===

impl Object {
    /// The map of these fields, no two of one name.
    pub(super) fn value(fields: impl ExactSizeIterator<Item = (String, Value)>) -> Value {
        if fields.len() > MOST {
            let entries = fields.map(|(name, value)| (CelMapKey::from(name), value));
            return Box::new(CelMap::from(
                entries.collect::<std::collections::HashMap<_, _>>(),
            ));
        }
        Box::new(Self(
            fields
                .map(|(name, value)| (CelString::from(name), value))
                .collect(),
        ))
    }

    /// The value of a field.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|(known, _)| known.inner() == name)
            .map(|(_, value)| value)
    }
}

/// The value at a path, names joined with dots, below a value; `None` also where the way there
/// leads through anything but objects.
pub(super) fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |value, name| {
        value.downcast_ref::<Object>()?.get(name)
    })
}

impl Val for Object {
    shows_a_map!();

    fn equals(&self, other: &dyn Val) -> bool {
        let all = |len: usize, equal: &dyn Fn(&str, &Value) -> bool| {
            let mut fields = self.0.iter();
            len == self.0.len() && fields.all(|(name, value)| equal(name.inner(), value))
        };
        if let Some(other) = other.downcast_ref::<Self>() {
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

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Object {}

impl Indexer for Object {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let Some(name) = index.downcast_ref::<CelString>() else {
            return Err(ExecutionError::no_such_key(index.get_type().name()));
        };
        match Object::get(self, name.inner()) {
            Some(value) => Ok(CowVal::Borrowed(&**value)),
            None => Err(ExecutionError::no_such_key(name.inner())),
        }
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Indexer::get(&*self, index).map(|value| value.clone_as_boxed())
    }
}

impl Container for Object {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        let name = value.downcast_ref::<CelString>();
        Ok(name.is_some_and(|name| Object::get(self, name.inner()).is_some()))
    }
}

impl Sizer for Object {
    fn size(&self) -> CelInt {
        CelInt::from(i64::try_from(self.0.len()).unwrap_or(i64::MAX))
    }
}

impl Iterable for Object {
    fn iter<'b, 'v>(&'b self) -> Box<dyn Iterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Names(self.0.iter()))
    }
}

struct Names<'b>(std::slice::Iter<'b, (CelString<'static>, Value)>);

impl<'b, 'v> Iterator<'b, 'v> for Names<'b> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        self.0.next().map(|(name, _)| name as &dyn Val)
    }
}
