//! Missing values: an error, or null as in predicates.
//!
//! A caller must not be able to switch off a limit by leaving something out. `auth.identity.tier != "gold"` therefore
//! holds without a tier, and `!("admin" in auth.identity.roles)` without roles. What null is in every operator and
//! function is a table of the configuration reference, each row of which a test evaluates.

use cel::ExecutionError;
use cel::common::types::{CelList, CelNull};
use cel::common::value::{CowVal, Val};

use super::{Evaluated, Machine, Scope, boolean};
use crate::expression::missing::is_missing;
use crate::expression::program::{LoopKind, Method, Node};

static NULL: CelNull = CelNull;

// === impl Machine ===

impl<'v> Machine<'_, 'v> {
    /// Returns null instead of an absent key or element.
    pub(super) fn or_null<'e>(self, found: Evaluated<'e, 'v>) -> Evaluated<'e, 'v> {
        match found {
            Err(ExecutionError::NoSuchKey(_) | ExecutionError::IndexOutOfBounds(_))
                if self.missing.reads_null() =>
            {
                Ok(CowVal::Borrowed(&NULL))
            }
            found => found,
        }
    }

    /// Returns null for an absent variable.
    pub(super) fn absent<'e>(self, error: ExecutionError) -> Evaluated<'e, 'v> {
        if self.missing.reads_null() {
            Ok(CowVal::Borrowed(&NULL))
        } else {
            Err(error)
        }
    }

    /// Returns the first value that is neither missing nor null; else null if one is null, and the error of a missing
    /// value if none is.
    pub(super) fn first_of<'e>(
        self,
        nodes: &'e [Node],
        scope: Option<&'e Scope<'e, 'v>>,
    ) -> Evaluated<'e, 'v>
    where
        'v: 'e,
    {
        // What a value that is found has replaced is not missing.
        let was_missing = self.missing.take();
        let mut none = Err(ExecutionError::MissingArgumentOrTarget);
        for node in nodes {
            match self.evaluate(node, scope) {
                Ok(value) if is_null(value.as_ref()) => none = Ok(value),
                Ok(value) => {
                    self.missing.take();
                    self.missing.note(was_missing);
                    return Ok(value);
                }
                Err(error) if is_missing(&error) => none = none.or(Err(error)),
                Err(error) => return Err(error),
            }
        }
        self.missing.note(was_missing);
        none
    }

    /// Returns whether a value is null, where an error would be the alternative.
    pub(super) fn is_missing(self, value: &dyn Val) -> bool {
        is_null(value) && self.missing.reads_null()
    }

    /// Returns the value at a key, null if it is absent: null has no keys, and nothing has the key null.
    pub(super) fn value_at<'e>(
        self,
        value: CowVal<'e, 'v>,
        key: &dyn Val,
        name: &str,
    ) -> Evaluated<'e, 'v> {
        if self.is_missing(value.as_ref()) || self.is_missing(key) {
            return Ok(CowVal::Borrowed(&NULL));
        }
        let found = self.lookup(value, key, name);
        self.or_null(found)
    }
}

/// Returns whether a value is null.
pub(super) fn is_null(value: &dyn Val) -> bool {
    value.downcast_ref::<CelNull>().is_some()
}

/// Returns the value of a macro over null, which has no elements.
pub(super) fn of_loop<'e, 'v: 'e>(kind: &LoopKind) -> CowVal<'e, 'v> {
    match kind {
        LoopKind::All(_) => boolean(true),
        LoopKind::Exists(_) | LoopKind::ExistsOne(_) => boolean(false),
        LoopKind::Map { .. } => CowVal::owned(CelList::from(Vec::<Box<dyn Val + 'v>>::new())),
    }
}

/// Returns the value of a method of null: what would be a text or a list is null as well. Others have none.
pub(super) fn of_method<'e, 'v>(method: Method) -> Option<CowVal<'e, 'v>> {
    match method {
        Method::CharAt
        | Method::Join
        | Method::LowerAscii
        | Method::Replace
        | Method::Reverse
        | Method::Split
        | Method::Substring
        | Method::Trim
        | Method::UpperAscii => Some(CowVal::Borrowed(&NULL)),
        Method::Contains
        | Method::EndsWith
        | Method::Format
        | Method::HasValue
        | Method::IndexOf
        | Method::LastIndexOf
        | Method::Or
        | Method::OrValue
        | Method::Part(_)
        | Method::Size
        | Method::StartsWith
        | Method::Value => None,
    }
}
