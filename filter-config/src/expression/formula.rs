//! Formulas: costs that are arithmetic over usage, and need no evaluator. Most costs of policies are.
//!
//! Each limit of an exchange computes its cost twice, when it is admitted and when it is settled, and the evaluator
//! would look up every name and operator each time. A formula is compiled from the tree that the evaluator would walk
//! and computes as [`arithmetic`](super::arithmetic) does, so it has the same value.

#[cfg(test)]
mod tests;

use cel::common::ast::{Expr, IdedExpr, LiteralValue};

use super::arithmetic::{Number, Operator};
use super::attribute::{UsageField, aliased, find_usage};

/// Arithmetic over usage.
#[derive(Clone, Debug, PartialEq)]
pub struct Formula(Term);

#[derive(Clone, Debug, PartialEq)]
enum Term {
    /// A literal.
    Number(Number),
    /// A field such as `usage.output_tokens`, also by the name of another gateway.
    Usage(UsageField),
    /// An operator and its operands.
    Applied(Operator, Box<[Term; 2]>),
}

// === impl Formula ===

impl Formula {
    /// Returns an expression as a formula, if it is one. Its operators are those of [`arithmetic`](super::arithmetic).
    pub(super) fn of(root: &IdedExpr) -> Option<Self> {
        Term::of(root).map(Self)
    }

    /// Returns the value, with the fields of `usage` from `used`, or `None` if an integer is divided by zero or `used`
    /// has no value.
    pub fn value(&self, used: impl Fn(UsageField) -> Option<Number>) -> Option<Number> {
        self.0.value(&used)
    }
}

// === impl Term ===

impl Term {
    /// Returns an expression as a term, if it is one. It recurses as deep as the text is nested, which is bounded.
    fn of(expr: &IdedExpr) -> Option<Self> {
        match &expr.expr {
            Expr::Literal(LiteralValue::Int(int)) => {
                Some(Self::Number(Number::Whole((*int.inner()).into())))
            }
            Expr::Literal(LiteralValue::UInt(uint)) => {
                Some(Self::Number(Number::Whole((*uint.inner()).into())))
            }
            Expr::Literal(LiteralValue::Double(double)) => {
                Some(Self::Number(Number::Fraction(*double.inner())))
            }
            Expr::Ident(name) => Self::used(aliased(name)?),
            Expr::Select(select) if !select.test => match &select.operand.expr {
                Expr::Ident(root) if root == "usage" => {
                    Self::used(&format!("{root}.{}", select.field))
                }
                _ => None,
            },
            Expr::Call(call) if call.target.is_none() => {
                let operator = Operator::of(&call.func_name)?;
                let [left, right] = call.args.as_slice() else {
                    return None;
                };
                let terms = [Self::of(left)?, Self::of(right)?];
                Some(Self::Applied(operator, Box::new(terms)))
            }
            _ => None,
        }
    }

    fn used(name: &str) -> Option<Self> {
        let field = find_usage(name)?;
        let is_number = !matches!(field, UsageField::Estimated | UsageField::Raw);
        is_number.then_some(Self::Usage(field))
    }

    fn value(&self, used: &impl Fn(UsageField) -> Option<Number>) -> Option<Number> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Usage(field) => used(*field),
            Self::Applied(operator, terms) => {
                let [left, right] = &**terms;
                operator.apply(left.value(used)?, right.value(used)?)
            }
        }
    }
}
