//! The size of values, which determines what it costs to copy, compare or print them.

use cel::ExecutionError;
use cel::common::types::{
    CelBytes, CelDouble, CelList, CelMap, CelMapKey, CelOptional, CelString, Kind,
};
use cel::common::value::Val;

use crate::expression::fuel::Fuel;

/// The size of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// Elements of lists and maps, and the value itself.
    pub(super) elements: usize,
    /// Bytes of text and data.
    pub(super) bytes: usize,
}

/// What is weighed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// A copy, for which a value of the resolver is one element: it shares its content.
    Copy,
    /// All of the value.
    Content,
}

// === impl Weight ===

impl Weight {
    /// Returns what a copy of a value takes.
    ///
    /// # Errors
    ///
    /// That the fuel does not pay for it.
    pub(super) fn of_copy(value: &dyn Val, fuel: &Fuel) -> Result<Self, ExecutionError> {
        Self::of(value, Purpose::Copy, fuel)
    }

    /// Returns the size of all of a value.
    ///
    /// # Errors
    ///
    /// As [`Weight::of_copy`].
    pub(super) fn of_content(value: &dyn Val, fuel: &Fuel) -> Result<Self, ExecutionError> {
        Self::of(value, Purpose::Content, fuel)
    }

    fn of(value: &dyn Val, purpose: Purpose, fuel: &Fuel) -> Result<Self, ExecutionError> {
        let mut weight = Self::default();
        weight.add(value, purpose, fuel)?;
        Ok(weight)
    }

    /// Adds a value. It recurses as deep as values nest, which the parsers of bodies and metadata bound.
    fn add(
        &mut self,
        value: &dyn Val,
        purpose: Purpose,
        fuel: &Fuel,
    ) -> Result<(), ExecutionError> {
        self.elements = self.elements.saturating_add(1);
        if self.elements as u64 > fuel.steps() {
            // More than can be paid for.
            return fuel.step(self.elements as u64);
        }
        match value.get_type().kind() {
            Kind::String => self.text(value),
            Kind::Bytes => {
                if let Some(bytes) = value.downcast_ref::<CelBytes<'_>>() {
                    self.bytes = self.bytes.saturating_add(bytes.inner().len());
                }
            }
            Kind::List | Kind::Map | Kind::Opaque => return self.inside(value, purpose, fuel),
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, value: &dyn Val) {
        if let Some(text) = value.downcast_ref::<CelString<'_>>() {
            self.bytes = self.bytes.saturating_add(text.inner().len());
        }
    }

    fn inside(
        &mut self,
        value: &dyn Val,
        purpose: Purpose,
        fuel: &Fuel,
    ) -> Result<(), ExecutionError> {
        if let Some(list) = value.downcast_ref::<CelList<'_>>() {
            for element in list.inner() {
                self.add(&**element, purpose, fuel)?;
            }
        } else if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
            for (key, element) in map.inner() {
                if let CelMapKey::String(key) = key {
                    self.bytes = self.bytes.saturating_add(key.inner().len());
                }
                self.add(&**element, purpose, fuel)?;
            }
        } else if let Some(optional) = value.downcast_ref::<CelOptional<'_>>() {
            if let Some(value) = optional.option() {
                self.add(value, purpose, fuel)?;
            }
        } else if purpose == Purpose::Content
            && let (Some(keys), Some(values)) = (value.as_iterable(), value.as_indexer())
        {
            fuel.list_names()?;
            let mut keys = keys.iter();
            while let Some(key) = keys.next() {
                fuel.search()?;
                self.text(key);
                if let Ok(value) = values.get(key) {
                    self.add(value.as_ref(), purpose, fuel)?;
                }
            }
        }
        Ok(())
    }
}

/// Returns whether a value is a double.
pub(super) fn is_double(value: &dyn Val) -> bool {
    value.downcast_ref::<CelDouble>().is_some()
}
