//! Costs that are arithmetic over what an exchange used, and so need no evaluator: most of those that
//! policies have.
//!
//! Each limit of an exchange computes its cost twice, when it is admitted and when it is settled, and
//! the evaluator looks up every name and every operator anew. A formula is compiled from the tree that
//! the evaluator would walk, computes as [`arithmetic`](super::arithmetic) does, and so has its value.

#[cfg(test)]
mod tests;

use super::UsageField;
use super::arithmetic::{Number, Operator};
use super::attribute::{aliased, find_usage};
use cel::common::ast::{Expr, IdedExpr, LiteralValue};

/// Arithmetic over what an exchange used.
#[derive(Clone, Debug, PartialEq)]
pub struct Formula(Term);

#[derive(Clone, Debug, PartialEq)]
enum Term {
    /// A literal.
    Number(Number),
    /// `usage.output_tokens`, or the name that another gateway has for it.
    Usage(UsageField),
    /// Two terms, and what is done with them.
    Applied(Operator, Box<[Term; 2]>),
}

// === impl Formula ===

impl Formula {
    /// An expression as a formula, if it is one. Its operators have been replaced by those of
    /// [`arithmetic`](super::arithmetic).
    pub(super) fn of(root: &IdedExpr) -> Option<Self> {
        Term::of(root).map(Self)
    }

    /// The value, with those of `usage` as `used` has them; `None` where a whole number is divided by
    /// none, or `used` has none.
    pub fn value(&self, used: impl Fn(UsageField) -> Option<Number>) -> Option<Number> {
        self.0.value(&used)
    }
}

// === impl Term ===

impl Term {
    /// It recurses as deep as the text is nested, which is bounded.
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
