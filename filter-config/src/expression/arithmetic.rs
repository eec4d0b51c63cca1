//! Arithmetic of expressions that yield a number, such as a cost: it mixes numbers of all types, and saturates.
//!
//! CEL itself cannot multiply an integer by a fraction, and fails on an overflow. A price per token is a fraction, and
//! a cost must not fail. The operators of such expressions are therefore replaced by functions.

#[cfg(test)]
mod tests;

use cel::common::ast::{EntryExpr, Expr, IdedExpr, operators};
use cel::common::types::{CelDouble, CelInt, CelUInt};
use cel::common::value::{CowVal, Val};
use cel::{ExecutionError, Value};

/// The operators with the names of the functions that replace them. No expression can contain such a name.
const REPLACED: [(&str, &str, Operator); 5] = [
    (operators::ADD, "@add", Operator::Add),
    (operators::SUBSTRACT, "@subtract", Operator::Subtract),
    (operators::MULTIPLY, "@multiply", Operator::Multiply),
    (operators::DIVIDE, "@divide", Operator::Divide),
    (operators::MODULO, "@remainder", Operator::Remainder),
];

/// An arithmetic operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// A number of any type of CEL.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An `int` or a `uint`.
    Whole(i128),
    /// A `double`.
    Fraction(f64),
}

// === impl Number ===

impl Number {
    /// Returns the number that a value is, if it is one.
    #[must_use]
    pub fn of(value: &CowVal<'_, '_>) -> Option<Self> {
        if let Some(int) = value.downcast_ref::<CelInt>() {
            Some(Self::Whole((*int.inner()).into()))
        } else if let Some(uint) = value.downcast_ref::<CelUInt>() {
            Some(Self::Whole((*uint.inner()).into()))
        } else {
            let double = value.downcast_ref::<CelDouble>()?;
            Some(Self::Fraction(*double.inner()))
        }
    }
}

// === impl Operator ===

impl Operator {
    /// Returns the operator that a function replaces, if it replaces one.
    pub(super) fn of(function: &str) -> Option<Self> {
        let mut replaced = REPLACED.iter();
        let (.., operator) = replaced.find(|(_, name, _)| *name == function)?;
        Some(*operator)
    }

    /// Returns the name of the operator in CEL.
    pub(super) fn name(self) -> &'static str {
        let mut replaced = REPLACED.iter();
        let known = replaced.find(|(.., operator)| *operator == self);
        known.map_or("", |(name, ..)| name)
    }

    /// Returns the result for two numbers, or `None` for an integer divided by zero. A fraction divided by zero is
    /// infinite, which saturates.
    #[expect(
        clippy::cast_precision_loss,
        reason = "an integer in arithmetic with a fraction becomes one"
    )]
    pub(super) fn apply(self, left: Number, right: Number) -> Option<Number> {
        let (left, right) = match (left, right) {
            (Number::Whole(a), Number::Whole(b)) => return self.whole(a, b).map(Number::Whole),
            (Number::Whole(a), Number::Fraction(b)) => (a as f64, b),
            (Number::Fraction(a), Number::Whole(b)) => (a, b as f64),
            (Number::Fraction(a), Number::Fraction(b)) => (a, b),
        };
        Some(Number::Fraction(match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
            Self::Remainder => left % right,
        }))
    }

    fn whole(self, left: i128, right: i128) -> Option<i128> {
        let result = match self {
            Self::Add => left.saturating_add(right),
            Self::Subtract => left.saturating_sub(right),
            Self::Multiply => left.saturating_mul(right),
            Self::Divide => left.checked_div(right)?,
            Self::Remainder => left.checked_rem(right)?,
        };
        Some(result.clamp(i64::MIN.into(), i64::MAX.into()))
    }
}

/// Replaces the operators of an expression. It recurses as deep as the text is nested, which is bounded.
pub(super) fn replace(expr: &mut IdedExpr) {
    match &mut expr.expr {
        Expr::Call(call) => {
            let replaced = REPLACED.iter().find(|(name, ..)| *name == call.func_name);
            if let (Some((_, function, _)), 2) = (replaced, call.args.len()) {
                (*function).clone_into(&mut call.func_name);
            }
            call.target.iter_mut().for_each(|target| replace(target));
            call.args.iter_mut().for_each(replace);
        }
        Expr::Select(select) => replace(&mut select.operand),
        Expr::List(list) => list.elements.iter_mut().for_each(replace),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    replace(&mut entry.key);
                    replace(&mut entry.value);
                }
            }
        }
        // The steps of a macro are its own; its range may contain arithmetic.
        Expr::Comprehension(comprehension) => replace(&mut comprehension.iter_range),
        Expr::Struct(_) | Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
    }
}

/// Computes with two numbers of any types; `None` for other values.
pub(super) fn numbers<'v>(
    operator: Operator,
    left: &CowVal<'_, '_>,
    right: &CowVal<'_, '_>,
) -> Option<Result<Box<dyn Val + 'v>, ExecutionError>> {
    let result = operator.apply(Number::of(left)?, Number::of(right)?);
    let result = result.map(value);
    Some(result.ok_or(ExecutionError::DivisionByZero(Value::Int(0))))
}

/// Returns a number as a CEL value.
fn value<'v>(number: Number) -> Box<dyn Val + 'v> {
    match number {
        Number::Whole(whole) => Box::new(CelInt::from(i64::try_from(whole).unwrap_or(i64::MAX))),
        Number::Fraction(fraction) => Box::new(CelDouble::from(fraction)),
    }
}
