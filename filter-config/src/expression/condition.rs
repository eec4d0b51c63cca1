//! Conditions: comparisons with texts of the policy that a predicate needs to be true.
//!
//! Policies have a limit for each subscription, plan or group, and most of their predicates have one form with another
//! text: `auth.identity.plan == "gold"`, `"gold" in auth.identity.groups`, `auth.identity.groups.split(",").exists(g, g
//! == "gold")`. An index of these texts finds the predicates that may be true, provided that it has the value that the
//! predicates would compare. The evaluator finds that value once for all of them, by the program of one of them.

#[cfg(test)]
mod tests;

use std::cell::Cell;

use cel::common::ast::LiteralValue;
use cel::common::types::{CelList, CelNull, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;

use super::evaluate::{Machine, is_false};
use super::fuel::Fuel;
use super::missing::Missing;
use super::program::{Binary, LoopKind, Node};
use super::spelling::spelled;

/// The operands of `&&` of one predicate that can be conditions.
const MAX_OPERANDS: usize = 8;

/// A condition of a predicate: it is false unless a value is one of these texts, or a list has one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The position among the operands of `&&`.
    pub position: usize,
    /// What is compared, and what is evaluated before. Conditions that agree in it differ only in their texts.
    pub form: String,
    /// The texts, in no order.
    pub texts: Vec<String>,
}

/// The value that a request has for conditions of one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The predicates with the condition are false, whatever its texts are.
    False,
    /// The predicates are false because a value is missing.
    Missing,
    /// The predicates are false unless their texts include one of these.
    Texts(Vec<String>),
}

/// A comparison of a value with texts.
struct Comparison<'p> {
    subject: &'p Node,
    kind: Kind,
    texts: Vec<&'p str>,
}

/// The part of a value that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The value.
    Value,
    /// The elements of a list.
    Elements,
}

// === impl Comparison ===

impl<'p> Comparison<'p> {
    /// Returns the comparison that a part of a program is, if it is one. It recurses as deep as the text is nested.
    fn of(node: &'p Node) -> Option<Self> {
        let of_value = |subject, texts| Self {
            subject,
            kind: Kind::Value,
            texts,
        };
        match node {
            Node::Binary(Binary::Equals, pair) => {
                let [left, right] = &**pair;
                let (subject, text) = match (literal(left), literal(right)) {
                    (None, Some(text)) => (left, text),
                    (Some(text), None) => (right, text),
                    _ => return None,
                };
                Some(of_value(subject, vec![text]))
            }
            Node::Binary(Binary::In, pair) => {
                let [element, list] = &**pair;
                if let Some(texts) = literals(list) {
                    return Some(of_value(element, texts));
                }
                Some(Self {
                    subject: list,
                    kind: Kind::Elements,
                    texts: vec![literal(element)?],
                })
            }
            Node::Or(pair) => {
                let [one, other] = &**pair;
                let (mut one, other) = (Self::of(one)?, Self::of(other)?);
                let are_same =
                    one.kind == other.kind && spelled(one.subject)? == spelled(other.subject)?;
                one.texts.extend(other.texts);
                are_same.then_some(one)
            }
            Node::Loop(of) => {
                let LoopKind::Exists(predicate) = &of.kind else {
                    return None;
                };
                let of_element = Self::of(predicate)?;
                let is_element =
                    of_element.kind == Kind::Value && matches!(of_element.subject, Node::Local(0));
                is_element.then_some(Self {
                    subject: &of.range,
                    kind: Kind::Elements,
                    texts: of_element.texts,
                })
            }
            _ => None,
        }
    }
}

/// Returns the conditions of the program of a predicate, in the order in which they are evaluated.
pub(super) fn all(program: &Node) -> Vec<Condition> {
    let mut conditions = Vec::new();
    let mut before = String::new();
    let operands = operands(program).into_iter().enumerate();
    for (position, operand) in operands.take(MAX_OPERANDS) {
        if let Some(comparison) = Comparison::of(operand)
            && let Some(subject) = spelled(comparison.subject)
        {
            let texts = comparison.texts.into_iter().map(str::to_owned);
            conditions.push(Condition {
                position,
                form: format!("{before}{:?} {subject}", comparison.kind),
                texts: texts.collect(),
            });
        }
        let Some(operand) = spelled(operand) else {
            break;
        };
        before.push_str(&operand);
        before.push_str(" && ");
    }
    conditions
}

/// Returns the value that a request has for the condition at a position of a predicate, and for those of other
/// predicates that have its form; `None` if only an evaluation of each shows whether they are true.
pub(super) fn compared(
    program: &Node,
    position: usize,
    attributes: &dyn VariableResolver,
    fuel: &Fuel,
) -> Option<Compared> {
    let operands = operands(program);
    let (condition, before) = operands.get(..=position)?.split_last()?;
    for operand in before {
        let (value, was_null_read) = evaluate(operand, attributes, fuel)?;
        // An error does not decide yet: `&&` absorbs it if the condition is false.
        if value.is_some_and(|value| is_false(&value)) {
            return Some(if was_null_read {
                Compared::Missing
            } else {
                Compared::False
            });
        }
    }
    let (subject, kind) = subject(condition)?;
    let (value, was_null_read) = evaluate(subject, attributes, fuel)?;
    let value = value?;
    let value = value.as_ref();
    let is_null = value.downcast_ref::<CelNull>().is_some();
    match kind {
        // Nothing is in a list that is null, whether or not it is absent.
        Kind::Elements if is_null => Some(Compared::Missing),
        _ if was_null_read => is_null.then_some(Compared::Missing),
        Kind::Value => Some(match text(value) {
            Some(text) => Compared::Texts(vec![text.to_owned()]),
            None => Compared::False,
        }),
        Kind::Elements => {
            let list = value.downcast_ref::<CelList<'_>>()?;
            let elements = list.inner().iter();
            let texts = elements.filter_map(|element| text(&**element));
            Some(Compared::Texts(texts.map(str::to_owned).collect()))
        }
    }
}

/// Returns what a condition compares, as [`Comparison::of`] found it when the condition was indexed, without its texts.
fn subject(condition: &Node) -> Option<(&Node, Kind)> {
    match condition {
        Node::Binary(Binary::Equals, pair) => {
            let [left, right] = &**pair;
            let subject = if literal(left).is_none() { left } else { right };
            Some((subject, Kind::Value))
        }
        Node::Binary(Binary::In, pair) => {
            let [element, list] = &**pair;
            if literal(element).is_none() || literals(list).is_some() {
                Some((element, Kind::Value))
            } else {
                Some((list, Kind::Elements))
            }
        }
        // Both operands compare the same.
        Node::Or(pair) => {
            let [one, _] = &**pair;
            subject(one)
        }
        Node::Loop(of) => Some((&of.range, Kind::Elements)),
        _ => None,
    }
}

/// Returns the operands of the outermost `&&`, in the order in which they are evaluated; a node that is no `&&` is the
/// only one. It recurses as deep as the text is nested.
fn operands(node: &Node) -> Vec<&Node> {
    match node {
        Node::And(pair) => pair.iter().flat_map(operands).collect(),
        node => vec![node],
    }
}

/// Returns the value of a part of a predicate, if it has one, and whether a missing value was read; `None` if the fuel
/// is exhausted.
fn evaluate<'v>(
    node: &'v Node,
    attributes: &'v dyn VariableResolver,
    fuel: &'v Fuel,
) -> Option<(Option<CowVal<'v, 'v>>, bool)> {
    let was_null_read = Cell::new(false);
    let machine = Machine {
        attributes,
        fuel,
        missing: Missing::ReadsNull(&was_null_read),
    };
    let value = machine.evaluate(node, None).ok();
    let is_paid = fuel.exhausted().is_none();
    is_paid.then_some((value, was_null_read.get()))
}

/// Returns the text of a value that is a string.
fn text(value: &dyn Val) -> Option<&str> {
    value.downcast_ref::<CelString<'_>>().map(CelString::inner)
}

/// Returns the text of a node that is a string literal.
fn literal(node: &Node) -> Option<&str> {
    match node {
        Node::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// Returns the texts of a list that has only string literals.
fn literals(node: &Node) -> Option<Vec<&str>> {
    let Node::List(elements) = node else {
        return None;
    };
    let texts = elements.iter().map(|element| {
        let text = literal(&element.value)?;
        (!element.is_optional).then_some(text)
    });
    texts.collect()
}
