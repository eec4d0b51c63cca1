//! Arithmetic of expressions that yield a number, such as a cost: numbers of all types go together, and
//! what has no place saturates.
//!
//! CEL itself multiplies no integer with a fraction, and fails on an overflow. A price per token is a
//! fraction, and a cost that fails would have to be something else; so the operators of such expressions
//! are replaced with functions that know what is meant.

#[cfg(test)]
mod tests;

use cel::common::ast::{EntryExpr, Expr, IdedExpr, operators};
use cel::common::types::{CelDouble, CelInt, CelUInt, DYN_TYPE};
use cel::common::value::{CowVal, Val};
use cel::{DeclarationError, Env, ExecutionError, Value};

/// An operator, and the function that takes its place. No expression can spell the function.
const REPLACED: [(&str, &str); 5] = [
    (operators::ADD, "@add"),
    (operators::SUBSTRACT, "@subtract"),
    (operators::MULTIPLY, "@multiply"),
    (operators::DIVIDE, "@divide"),
    (operators::MODULO, "@remainder"),
];

/// A number of any type of CEL.
#[derive(Clone, Copy)]
enum Number {
    /// An `int` or a `uint`.
    Whole(i128),
    /// A `double`.
    Fraction(f64),
}

/// Declares the functions.
pub(super) fn declare(env: &mut Env) -> Result<(), DeclarationError> {
    let two = || vec![DYN_TYPE, DYN_TYPE];
    env.add_overload("@add", "add_dyn", two(), |args| {
        apply(
            operators::ADD,
            args,
            i128::saturating_add,
            |a, b| a + b,
            sum,
        )
    })?;
    env.add_overload("@subtract", "subtract_dyn", two(), |args| {
        apply(
            operators::SUBSTRACT,
            args,
            i128::saturating_sub,
            |a, b| a - b,
            difference,
        )
    })?;
    env.add_overload("@multiply", "multiply_dyn", two(), |args| {
        apply(
            operators::MULTIPLY,
            args,
            i128::saturating_mul,
            |a, b| a * b,
            |_, _| None,
        )
    })?;
    env.add_overload("@divide", "divide_dyn", two(), |args| {
        not_by_zero(&args)?;
        let divide = |a: i128, b: i128| a.checked_div(b).unwrap_or_default();
        apply(operators::DIVIDE, args, divide, |a, b| a / b, |_, _| None)
    })?;
    env.add_overload("@remainder", "remainder_dyn", two(), |args| {
        not_by_zero(&args)?;
        let remainder = |a: i128, b: i128| a.checked_rem(b).unwrap_or_default();
        apply(
            operators::MODULO,
            args,
            remainder,
            |a, b| a % b,
            |_, _| None,
        )
    })
}

/// Replaces the operators of an expression. It recurses as deep as the text is nested, which is
/// bounded.
pub(super) fn replace(expr: &mut IdedExpr) {
    match &mut expr.expr {
        Expr::Call(call) => {
            let replaced = REPLACED.iter().find(|(name, _)| *name == call.func_name);
            if let (Some((_, function)), 2) = (replaced, call.args.len()) {
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
        // The macros' own sums are of what they are made for; what they go over may be computed.
        Expr::Comprehension(comprehension) => replace(&mut comprehension.iter_range),
        Expr::Struct(_) | Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
    }
}

type Computed<'v> = Option<Result<Box<dyn Val + 'v>, ExecutionError>>;

/// Computes with numbers of any types, or as CEL does with what are no numbers.
#[allow(clippy::cast_precision_loss)] // It is what a fraction beside them makes of whole numbers.
fn apply<'b, 'v>(
    operator: &str,
    args: Vec<CowVal<'b, 'v>>,
    whole: impl Fn(i128, i128) -> i128,
    fraction: impl Fn(f64, f64) -> f64,
    plain: impl Fn(&CowVal<'b, 'v>, &CowVal<'b, 'v>) -> Computed<'v>,
) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [left, right] = <[CowVal<'b, 'v>; 2]>::try_from(args)
        .map_err(|_| ExecutionError::missing_argument_or_target())?;
    match (number(&left), number(&right)) {
        (Some(Number::Whole(a)), Some(Number::Whole(b))) => {
            let result = whole(a, b).clamp(i64::MIN.into(), i64::MAX.into());
            Ok(CowVal::owned(CelInt::from(
                i64::try_from(result).unwrap_or(i64::MAX),
            )))
        }
        (Some(a), Some(b)) => {
            let [a, b] = [a, b].map(|number| match number {
                Number::Whole(number) => number as f64,
                Number::Fraction(number) => number,
            });
            Ok(CowVal::owned(CelDouble::from(fraction(a, b))))
        }
        _ => match plain(&left, &right) {
            Some(result) => result.map(CowVal::Owned),
            None => Err(ExecutionError::no_such_overload(
                operator,
                [&left, &right]
                    .map(|value| value.get_type().name().to_owned())
                    .to_vec(),
            )),
        },
    }
}

/// The sum of what are no numbers, such as strings.
fn sum<'v>(left: &CowVal<'_, 'v>, right: &CowVal<'_, 'v>) -> Computed<'v> {
    let sum = left.as_adder()?.add(right.as_ref());
    Some(sum.map(CowVal::into_owned))
}

/// The difference of what are no numbers, such as timestamps.
fn difference<'v>(left: &CowVal<'_, 'v>, right: &CowVal<'_, 'v>) -> Computed<'v> {
    let difference = left.as_subtractor()?.sub(right.as_ref());
    Some(difference.map(CowVal::into_owned))
}

fn number(value: &CowVal<'_, '_>) -> Option<Number> {
    if let Some(int) = value.downcast_ref::<CelInt>() {
        Some(Number::Whole((*int.inner()).into()))
    } else if let Some(uint) = value.downcast_ref::<CelUInt>() {
        Some(Number::Whole((*uint.inner()).into()))
    } else {
        let double = value.downcast_ref::<CelDouble>()?;
        Some(Number::Fraction(*double.inner()))
    }
}

/// Fails where a whole number is divided by none. A fraction becomes infinite, which saturates.
fn not_by_zero(args: &[CowVal<'_, '_>]) -> Result<(), ExecutionError> {
    let mut numbers = args.iter().map(number);
    match (numbers.next(), numbers.next()) {
        (Some(Some(Number::Whole(_))), Some(Some(Number::Whole(0)))) => {
            Err(ExecutionError::DivisionByZero(Value::Int(0)))
        }
        _ => Ok(()),
    }
}
