//! Attributes, fields of values and elements of lists and maps.

use std::collections::HashMap;

use cel::ExecutionError;
use cel::common::types::{
    CelDouble, CelInt, CelList, CelMapKey, CelOptional, CelString, CelUInt, Kind,
};
use cel::common::value::{BuiltinRef, CowVal, Val};

use super::weight::Weight;
use super::{Evaluated, Machine, Scope, Unwrapped, boolean, unsupported, unwrap_optional};
use crate::expression::program::{Index, Name, Select, SelectKind};

/// The steps of a lookup in a map of the resolver, beside those of a search.
const STEPS_OF_LOOKUP: u64 = 4;

// === impl Machine ===

impl<'v> Machine<'_, 'v> {
    /// Returns an attribute, or a part of one.
    pub(super) fn attribute<'e>(self, name: &'e Name) -> Evaluated<'e, 'v>
    where
        'v: 'e,
    {
        for (fields, prefix) in name.prefixes.iter().enumerate() {
            self.fuel.search()?;
            let found = self.attributes.resolve(prefix);
            let found = match (found, fields, &name.of_type) {
                (None, 0, Some(of_type)) => Some(CowVal::Borrowed(of_type as &dyn Val)),
                (found, ..) => found,
            };
            let Some(value) = found else {
                continue;
            };
            let mut value = self.made(value)?;
            let from = name.segments.len().saturating_sub(fields);
            for field in name.segments.iter().skip(from) {
                value = self.field(value, field, SelectKind::Value)?;
            }
            return Ok(value);
        }
        let root = name.prefixes.last().cloned().unwrap_or_default();
        self.absent(ExecutionError::UndeclaredReference(root.into()))
    }

    /// Pays for a value that was made for this evaluation.
    fn made<'e>(self, value: CowVal<'e, 'v>) -> Evaluated<'e, 'v> {
        if let CowVal::Owned(made) = &value {
            let weight = Weight::of_copy(&**made, self.fuel)?;
            self.fuel.produce(weight.elements, weight.bytes)?;
        }
        Ok(value)
    }

    #[inline(never)]
    pub(super) fn select<'e>(
        self,
        select: &'e Select,
        scope: Option<&'e Scope<'e, 'v>>,
    ) -> Evaluated<'e, 'v>
    where
        'v: 'e,
    {
        let operand = self.evaluate(&select.operand, scope)?;
        if select.kind != SelectKind::Optional {
            return self.field(operand, &select.field, select.kind);
        }
        let field = CelString::from(select.field.as_str());
        match unwrap_optional(operand) {
            Unwrapped::None => Ok(CowVal::owned(CelOptional::none())),
            Unwrapped::Plain(value) | Unwrapped::Some(value) => {
                let found = self.lookup(value, &field, "_?._");
                self.optional(found)
            }
        }
    }

    /// Returns the optional value of a lookup.
    fn optional<'e>(self, found: Evaluated<'e, 'v>) -> Evaluated<'e, 'v> {
        Ok(CowVal::owned(match found {
            Ok(value) => CelOptional::of(self.owned(value)?),
            Err(_) => CelOptional::none(),
        }))
    }

    /// Returns a field of a value, or whether it has one.
    fn field<'e>(self, value: CowVal<'e, 'v>, field: &'e str, kind: SelectKind) -> Evaluated<'e, 'v>
    where
        'v: 'e,
    {
        let key = CelString::from(field);
        let is_test = kind == SelectKind::Test;
        let value = match unwrap_optional(value) {
            Unwrapped::Plain(value) => value,
            Unwrapped::None if is_test => return Ok(boolean(false)),
            Unwrapped::None => return Ok(CowVal::owned(CelOptional::none())),
            Unwrapped::Some(value) => {
                if value.as_indexer().is_none() {
                    return Err(ExecutionError::no_such_key(field));
                }
                let found = self.lookup(value, &key, "_._");
                return if is_test {
                    Ok(boolean(found.is_ok()))
                } else {
                    self.optional(found)
                };
            }
        };
        if is_test {
            if self.is_missing(value.as_ref()) {
                return Ok(boolean(false));
            }
            return match self.lookup(value, &key, "_._") {
                Ok(_) => Ok(boolean(true)),
                Err(ExecutionError::NoSuchKey(_)) => Ok(boolean(false)),
                Err(error) => Err(error),
            };
        }
        self.value_at(value, &key, "_._")
    }

    #[inline(never)]
    pub(super) fn index<'e>(
        self,
        index: &'e Index,
        scope: Option<&'e Scope<'e, 'v>>,
    ) -> Evaluated<'e, 'v>
    where
        'v: 'e,
    {
        let operand = self.evaluate(&index.operand, scope)?;
        let (operand, is_optional) = match unwrap_optional(operand) {
            Unwrapped::Plain(value) => (value, index.is_optional),
            Unwrapped::Some(value) => (value, true),
            Unwrapped::None => return Ok(CowVal::owned(CelOptional::none())),
        };
        let key = self.evaluate(&index.key, scope)?;
        let name = if index.is_optional { "_[?_]" } else { "_[_]" };
        if is_optional {
            let found = self.lookup(operand, key.as_ref(), name);
            self.optional(found)
        } else {
            self.value_at(operand, key.as_ref(), name)
        }
    }

    /// Returns the value at a key.
    pub(super) fn lookup<'e>(
        self,
        value: CowVal<'e, 'v>,
        key: &dyn Val,
        name: &str,
    ) -> Evaluated<'e, 'v> {
        self.pay_for_lookup(value.as_ref(), key)?;
        let unsupported = |value: &dyn Val| unsupported(name, [value, key]);
        if !is_key(key) || is_fraction_of_list(value.as_ref(), key) {
            return Err(unsupported(value.as_ref()));
        }
        let value = match value {
            CowVal::Borrowed(value) => {
                let indexer = value.as_indexer().ok_or_else(|| unsupported(value))?;
                let found = indexer.get(key);
                return self.made(found.map_err(|error| with_types(error, value, key, name))?);
            }
            CowVal::Owned(value) => value,
        };
        if matches!(value.as_builtin(), BuiltinRef::Other) {
            let indexer = value.as_indexer().ok_or_else(|| unsupported(&*value))?;
            let found = indexer.get(key);
            let found = found.map_err(|error| with_types(error, &*value, key, name))?;
            return self.made(CowVal::Owned(self.owned(found)?));
        }
        let error = unsupported(&*value);
        let Some(indexer) = value.into_indexer() else {
            return Err(error);
        };
        let found = indexer.steal(key).map_err(|found| match found {
            ExecutionError::NoSuchKey(_) | ExecutionError::IndexOutOfBounds(_) => found,
            _ => error,
        });
        found.map(CowVal::Owned)
    }

    /// Pays for a search of a key.
    pub(super) fn pay_for_lookup(self, of: &dyn Val, key: &dyn Val) -> Result<(), ExecutionError> {
        if let Some(text) = key.downcast_ref::<CelString<'_>>() {
            self.fuel.compare(text.inner().len())?;
        }
        if matches!(of.as_builtin(), BuiltinRef::Other) {
            self.fuel.step(STEPS_OF_LOOKUP)?;
            self.fuel.search()?;
        }
        Ok(())
    }

    /// Pays for the names of a map, which that of a resolver may have to collect.
    pub(super) fn pay_for_names(self, of: &dyn Val) -> Result<(), ExecutionError> {
        if matches!(of.as_builtin(), BuiltinRef::Other) && of.as_indexer().is_some() {
            self.fuel.list_names()?;
        }
        Ok(())
    }
}

/// Returns the error of a lookup, by the types of its operands if it is about these.
fn with_types(error: ExecutionError, value: &dyn Val, key: &dyn Val, name: &str) -> ExecutionError {
    match error {
        ExecutionError::NoSuchKey(_) | ExecutionError::IndexOutOfBounds(_) => error,
        _ => unsupported(name, [value, key]),
    }
}

/// Returns whether a value can be a key of a lookup. The errors of the `cel` crate for others contain a copy of them.
pub(super) fn is_key(key: &dyn Val) -> bool {
    matches!(
        key.get_type().kind(),
        Kind::String | Kind::Int | Kind::UInt | Kind::Boolean | Kind::Double
    )
}

/// Returns whether a lookup is one of a fraction in a list, whose error in the `cel` crate contains a copy of the list.
fn is_fraction_of_list(value: &dyn Val, key: &dyn Val) -> bool {
    let Some(key) = key.downcast_ref::<CelDouble>() else {
        return false;
    };
    let key = *key.inner();
    // Beyond 2^53, where all doubles are whole, no list has an element.
    value.downcast_ref::<CelList<'_>>().is_some()
        && (key.fract() != 0.0 || !key.is_finite() || key.abs() > 9e15)
}

/// Returns whether a map has a key, or the same number as another type.
pub(super) fn has_key<V>(map: &HashMap<CelMapKey<'_>, V>, key: &CelMapKey<'_>) -> bool {
    let other = match key {
        CelMapKey::Int(int) => u64::try_from(*int.inner())
            .ok()
            .map(CelUInt::from)
            .map(CelMapKey::UInt),
        CelMapKey::UInt(uint) => i64::try_from(*uint.inner())
            .ok()
            .map(CelInt::from)
            .map(CelMapKey::Int),
        CelMapKey::Bool(_) | CelMapKey::String(_) => None,
    };
    let mut keys = [Some(key), other.as_ref()].into_iter().flatten();
    keys.any(|key| map.contains_key(key))
}
