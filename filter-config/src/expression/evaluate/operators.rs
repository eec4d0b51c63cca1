//! Operators.

use std::cmp::Ordering;

use cel::ExecutionError;
use cel::common::types::{CelBool, CelBytes, CelList, CelString, Kind};
use cel::common::value::{CowVal, Val};

use super::weight::Weight;
use super::{Evaluated, Machine, Scope, boolean, select, truth, unsupported};
use crate::expression::arithmetic::{self, Operator as Arithmetic};
use crate::expression::program::{Binary, Node};

// === impl Machine ===

impl<'v> Machine<'_, 'v> {
    /// Evaluates `&&` or `||`, which an operand can decide whatever the other is: `decisive` does.
    pub(super) fn connective<'e>(
        self,
        pair: &'e [Node; 2],
        scope: Option<&'e Scope<'e, 'v>>,
        decisive: bool,
    ) -> Evaluated<'e, 'v>
    where
        'v: 'e,
    {
        let [left, right] = pair;
        let before = self.missing.take();
        let left = self.evaluate(left, scope);
        let left = left.and_then(|left| {
            truth(&left).map_err(|_| unsupported("_&&_", [left.as_ref(), &super::TRUE]))
        });
        if left == Ok(decisive) {
            self.missing.note(before);
            return Ok(boolean(decisive));
        }
        let of_left = self.missing.take();
        let right = self.evaluate(right, scope);
        let truth = right.as_ref().ok().and_then(|right| right.downcast_ref());
        let truth = truth.map(|truth: &CelBool| *truth.inner());
        // What the right operand decides does not depend on the left one.
        self.missing
            .note(before || (of_left && truth != Some(decisive)));
        let right = right?;
        match (left, truth) {
            (Ok(_), Some(right)) => Ok(boolean(right)),
            (Err(_), Some(right)) if right == decisive => Ok(boolean(decisive)),
            (Err(error), _) => Err(error),
            (Ok(_), None) => {
                let name = if decisive { "_||_" } else { "_&&_" };
                Err(unsupported(name, [&super::TRUE, right.as_ref()]))
            }
        }
    }

    pub(super) fn not<'e>(self, of: &'e Node, scope: Option<&'e Scope<'e, 'v>>) -> Evaluated<'e, 'v>
    where
        'v: 'e,
    {
        let value = self.evaluate(of, scope)?;
        let truth = value.downcast_ref::<CelBool>().map(|truth| *truth.inner());
        truth
            .map(|truth| boolean(!truth))
            .ok_or_else(|| unsupported("!_", [value.as_ref()]))
    }

    pub(super) fn negate<'e>(
        self,
        of: &'e Node,
        scope: Option<&'e Scope<'e, 'v>>,
    ) -> Evaluated<'e, 'v>
    where
        'v: 'e,
    {
        let value = self.evaluate(of, scope)?;
        let negator = value.as_negator();
        let negator = negator.ok_or_else(|| unsupported("-_", [value.as_ref()]))?;
        negator.negate().map(CowVal::Owned)
    }

    #[inline(never)]
    pub(super) fn binary<'e>(
        self,
        operator: Binary,
        left: &CowVal<'e, 'v>,
        right: &CowVal<'e, 'v>,
    ) -> Evaluated<'e, 'v> {
        let compared = |name, is: fn(Ordering) -> bool| {
            let ordering = self.compare(left.as_ref(), right.as_ref(), name)?;
            Ok(boolean(is(ordering)))
        };
        match operator {
            Binary::Equals => self.equal(left.as_ref(), right.as_ref()).map(boolean),
            Binary::Differs => {
                let equal = self.equal(left.as_ref(), right.as_ref());
                equal.map(|equal| boolean(!equal))
            }
            Binary::Less => compared("_<_", Ordering::is_lt),
            Binary::LessOrEqual => compared("_<=_", Ordering::is_le),
            Binary::Greater => compared("_>_", Ordering::is_gt),
            Binary::GreaterOrEqual => compared("_>=_", Ordering::is_ge),
            Binary::In => self.contains(left.as_ref(), right.as_ref()).map(boolean),
            Binary::Strict(operator) => self.arithmetic(operator, left.as_ref(), right.as_ref()),
            Binary::Mixed(operator) => {
                if let Some(result) = arithmetic::numbers(operator, left, right) {
                    return result.map(CowVal::Owned);
                }
                self.arithmetic(operator, left.as_ref(), right.as_ref())
            }
        }
    }

    /// Returns whether values are equal.
    pub(super) fn equal(self, left: &dyn Val, right: &dyn Val) -> Result<bool, ExecutionError> {
        self.pay_for_equality(left, right)?;
        Ok(left.equals(right))
    }

    /// Pays for a comparison, which takes no longer than the smaller value.
    fn pay_for_equality(self, left: &dyn Val, right: &dyn Val) -> Result<(), ExecutionError> {
        let kind = left.get_type().kind();
        if kind != right.get_type().kind() {
            return Ok(());
        }
        match kind {
            Kind::String => match (text(left), text(right)) {
                (Some(left), Some(right)) if left.len() == right.len() => {
                    self.fuel.compare(left.len())
                }
                _ => Ok(()),
            },
            Kind::Bytes => match (bytes(left), bytes(right)) {
                (Some(left), Some(right)) if left.len() == right.len() => {
                    self.fuel.compare(left.len())
                }
                _ => Ok(()),
            },
            Kind::List | Kind::Map | Kind::Opaque => {
                let left = Weight::of_content(left, self.fuel)?;
                let right = Weight::of_content(right, self.fuel)?;
                // Both have been weighed.
                let elements = left.elements.saturating_add(right.elements);
                self.fuel.step(elements as u64)?;
                self.fuel.compare(left.bytes.min(right.bytes))
            }
            _ => Ok(()),
        }
    }

    /// Returns how values are ordered.
    fn compare(
        self,
        left: &dyn Val,
        right: &dyn Val,
        name: &str,
    ) -> Result<Ordering, ExecutionError> {
        let unsupported = || unsupported(name, [left, right]);
        // The errors of the `cel` crate for other operands contain copies of them.
        if !are_comparable(left, right) {
            return Err(unsupported());
        }
        let shorter = |left: Option<usize>, right: Option<usize>| {
            self.fuel
                .compare(left.unwrap_or_default().min(right.unwrap_or_default()))
        };
        shorter(text(left).map(str::len), text(right).map(str::len))?;
        shorter(bytes(left).map(<[u8]>::len), bytes(right).map(<[u8]>::len))?;
        let comparer = left.as_comparer().ok_or_else(unsupported)?;
        comparer.compare(right).map_err(|_| unsupported())
    }

    /// Returns whether a list or map contains a value.
    fn contains(self, value: &dyn Val, of: &dyn Val) -> Result<bool, ExecutionError> {
        let unsupported = || unsupported("@in", [value, of]);
        if self.is_missing(of) {
            return Ok(false);
        }
        if let Some(list) = of.downcast_ref::<CelList<'_>>() {
            for element in list.inner() {
                self.fuel.step(1)?;
                if self.equal(&**element, value)? {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        let container = of.as_container().ok_or_else(unsupported)?;
        if self.is_missing(value) {
            return Ok(false);
        }
        if !select::is_key(value) {
            return Err(unsupported());
        }
        self.pay_for_lookup(of, value)?;
        container.contains(value).map_err(|_| unsupported())
    }

    /// Computes with values as CEL does.
    fn arithmetic<'e>(
        self,
        operator: Arithmetic,
        left: &(dyn Val + 'v),
        right: &(dyn Val + 'v),
    ) -> Evaluated<'e, 'v> {
        let unsupported = || unsupported(operator.name(), [left as &dyn Val, right]);
        if operator == Arithmetic::Add
            && let Some(sum) = self.concatenation(left, right)?
        {
            return Ok(sum);
        }
        // The errors of the `cel` crate for other operands contain copies of them.
        if !is_scalar(left) || !is_scalar(right) {
            return Err(unsupported());
        }
        let result = match operator {
            Arithmetic::Add => left.as_adder().ok_or_else(unsupported)?.add(right),
            Arithmetic::Subtract => left.as_subtractor().ok_or_else(unsupported)?.sub(right),
            Arithmetic::Multiply => left.as_multiplier().ok_or_else(unsupported)?.mul(right),
            Arithmetic::Divide => left.as_divider().ok_or_else(unsupported)?.div(right),
            Arithmetic::Remainder => left.as_modder().ok_or_else(unsupported)?.modulo(right),
        };
        result.map(|value| CowVal::Owned(value.into_owned()))
    }

    /// Returns the sum of texts, data or lists, if the operands are such.
    fn concatenation<'e>(
        self,
        left: &(dyn Val + 'v),
        right: &(dyn Val + 'v),
    ) -> Result<Option<CowVal<'e, 'v>>, ExecutionError> {
        if let (Some(left), Some(right)) = (text(left), text(right)) {
            self.fuel
                .produce(1, left.len().saturating_add(right.len()))?;
            return Ok(Some(CowVal::owned(CelString::from([left, right].concat()))));
        }
        if let (Some(left), Some(right)) = (bytes(left), bytes(right)) {
            self.fuel
                .produce(1, left.len().saturating_add(right.len()))?;
            return Ok(Some(CowVal::owned(CelBytes::from([left, right].concat()))));
        }
        let (Some(list), Some(added)) = (left.downcast_ref::<CelList<'v>>(), right.as_iterable())
        else {
            return Ok(None);
        };
        let mut elements: Vec<Box<dyn Val + 'v>> = Vec::new();
        for element in list.inner() {
            elements.push(self.owned(CowVal::Borrowed(&**element))?);
        }
        self.pay_for_names(right)?;
        let mut added = added.iter();
        while let Some(element) = added.next() {
            elements.push(self.owned(CowVal::Borrowed(element))?);
        }
        Ok(Some(CowVal::owned(CelList::from(elements))))
    }
}

/// Returns the text that a value is.
pub(super) fn text(value: &dyn Val) -> Option<&str> {
    value.downcast_ref::<CelString<'_>>().map(CelString::inner)
}

fn bytes(value: &dyn Val) -> Option<&[u8]> {
    value.downcast_ref::<CelBytes<'_>>().map(CelBytes::inner)
}

/// Returns whether a value contains no other, and no text.
fn is_scalar(value: &dyn Val) -> bool {
    !matches!(
        value.get_type().kind(),
        Kind::String | Kind::Bytes | Kind::List | Kind::Map | Kind::Opaque | Kind::Struct
    )
}

/// Returns whether an order of two values may be defined.
fn are_comparable(left: &dyn Val, right: &dyn Val) -> bool {
    let (left_kind, right_kind) = (left.get_type().kind(), right.get_type().kind());
    left_kind == right_kind || (is_scalar(left) && is_scalar(right))
}
