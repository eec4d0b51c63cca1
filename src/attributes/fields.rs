//! CEL maps whose keys are names, over data of the filter's own.

use super::value::Value;
use cel::ExecutionError;
use cel::common::traits::{Container, Indexer, Iterable, Iterator, Sizer};
use cel::common::types::{CelInt, CelString, MAP_TYPE, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use std::any::Any;
use std::borrow::Cow;
use std::fmt::Debug;

/// Data that CEL can see as a map from names to values.
pub(super) trait Fields: Clone + Debug + Send + Sync + 'static {
    /// Returns a field by its name, as [`Fields::name`] returns it.
    fn field(&self, name: &str) -> Option<Field<'_>>;

    /// Returns whether there is such a field.
    fn has(&self, name: &str) -> bool {
        self.field(name).is_some()
    }

    /// Returns all names, each once.
    fn names(&self) -> impl ExactSizeIterator<Item = &CelString<'static>>;

    /// Returns the name that a key stands for.
    ///
    /// # Errors
    /// Where the key is no string: [`ExecutionError::NoSuchKey`] where such a key is absent like any
    /// other.
    fn name(key: &dyn Val) -> Result<Cow<'_, str>, ExecutionError>;

    /// Returns whether another value is an equal map.
    fn equals(&self, other: &dyn Val) -> bool;
}

/// The value of a field, made for the reader or kept in the map.
pub(super) enum Field<'a> {
    Made(Value),
    Kept(&'a Value),
}

/// A CEL map of such fields.
#[derive(Clone, Debug)]
pub(super) struct FieldMap<F>(pub(super) F);

// === impl FieldMap ===

impl<F: Fields> Val for FieldMap<F> {
    fn get_type(&self) -> &Type {
        Self::cel_type()
    }

    fn cel_type() -> &'static Type {
        &MAP_TYPE
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        self.0.equals(other)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl<F: Fields> StaticVal for FieldMap<F> {}

impl<F: Fields> Indexer for FieldMap<F> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = F::name(index)?;
        match self.0.field(&name) {
            Some(Field::Made(value)) => Ok(CowVal::Owned(value)),
            Some(Field::Kept(value)) => Ok(CowVal::Borrowed(&**value)),
            None => Err(ExecutionError::no_such_key(&name)),
        }
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}

impl<F: Fields> Container for FieldMap<F> {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        match F::name(value) {
            Ok(name) => Ok(self.0.has(&name)),
            Err(ExecutionError::NoSuchKey(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl<F: Fields> Sizer for FieldMap<F> {
    fn size(&self) -> CelInt {
        CelInt::from(i64::try_from(self.0.names().len()).unwrap_or(i64::MAX))
    }
}

impl<F: Fields> Iterable for FieldMap<F> {
    fn iter<'b, 'v>(&'b self) -> Box<dyn Iterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Names(self.0.names()))
    }
}

struct Names<I>(I);

impl<'b, 'v, I: std::iter::Iterator<Item = &'b CelString<'static>>> Iterator<'b, 'v> for Names<I> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        self.0.next().map(|name| name as &dyn Val)
    }
}
