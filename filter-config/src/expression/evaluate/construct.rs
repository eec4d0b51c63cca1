//! Lists and maps of literals, and copies of values.

use std::collections::HashMap;

use cel::ExecutionError;
use cel::common::types::{CelList, CelMap, CelMapKey};
use cel::common::value::{CowVal, Val};

use super::weight::{self, Weight};
use super::{Evaluated, Machine, Scope, Unwrapped, select, unexpected, unwrap_optional};
use crate::expression::program::{Element, Entry, Node};

// === impl Machine ===

impl<'v> Machine<'_, 'v> {
    /// Returns a value as one of its own, after paying for its copy if it is one.
    pub(super) fn owned(self, value: CowVal<'_, 'v>) -> Result<Box<dyn Val + 'v>, ExecutionError> {
        if let CowVal::Borrowed(value) = value {
            let weight = Weight::of_copy(value, self.fuel)?;
            self.fuel.produce(weight.elements, weight.bytes)?;
            return Ok(value.clone_as_boxed());
        }
        Ok(value.into_owned())
    }

    /// Returns a value to put into a list or map; `None` if it is optional and absent.
    fn element<'e>(
        self,
        node: &'e Node,
        is_optional: bool,
        scope: Option<&'e Scope<'e, 'v>>,
    ) -> Result<Option<Box<dyn Val + 'v>>, ExecutionError>
    where
        'v: 'e,
    {
        let mut value = self.evaluate(node, scope)?;
        if is_optional {
            value = match unwrap_optional(value) {
                Unwrapped::Plain(value) | Unwrapped::Some(value) => value,
                Unwrapped::None => return Ok(None),
            };
        }
        self.fuel.produce(1, 0)?;
        self.owned(value).map(Some)
    }

    #[inline(never)]
    pub(super) fn list<'e>(
        self,
        elements: &'e [Element],
        scope: Option<&'e Scope<'e, 'v>>,
    ) -> Evaluated<'e, 'v>
    where
        'v: 'e,
    {
        let mut list = Vec::with_capacity(elements.len());
        for element in elements {
            list.extend(self.element(&element.value, element.is_optional, scope)?);
        }
        Ok(CowVal::owned(CelList::from(list)))
    }

    #[inline(never)]
    pub(super) fn map<'e>(
        self,
        entries: &'e [Entry],
        scope: Option<&'e Scope<'e, 'v>>,
    ) -> Evaluated<'e, 'v>
    where
        'v: 'e,
    {
        let mut map: HashMap<CelMapKey<'v>, Box<dyn Val + 'v>> =
            HashMap::with_capacity(entries.len());
        for entry in entries {
            let key = self.evaluate(&entry.key, scope)?;
            if self.is_missing(key.as_ref()) {
                return Err(unexpected(key.as_ref(), "a key"));
            }
            if !select::is_key(key.as_ref()) || weight::is_double(key.as_ref()) {
                return Err(ExecutionError::UnsupportedKeyType(cel::Value::Null));
            }
            let key = CelMapKey::try_from(CowVal::Owned(self.owned(key)?))?;
            let Some(value) = self.element(&entry.value, entry.is_optional, scope)? else {
                continue;
            };
            if select::has_key(&map, &key) {
                return Err(ExecutionError::DuplicateKey(cel::Value::Null));
            }
            map.insert(key, value);
        }
        Ok(CowVal::owned(CelMap::from(map)))
    }
}
