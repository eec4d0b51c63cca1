//! Evaluates programs, as the evaluator of the `cel` crate would, with fuel.
//!
//! The `cel` crate has no bound on the work of an evaluation. Its values and their operators are used here, but not its
//! functions: they could take more than linear time, and its environment of all of them would be a part of the module.
//! Property tests hold the results against those of the crate's own evaluator.

mod absent;
mod calls;
mod construct;
mod conversions;
mod format;
mod loops;
mod methods;
mod operators;
mod scalar;
mod select;
#[cfg(test)]
mod tests;
mod text;
mod times;
mod weight;

use cel::ExecutionError;
use cel::common::types::{CelBool, CelOptional};
use cel::common::value::{Builtin, CowVal, Val};
use cel::context::VariableResolver;

use super::fuel::Fuel;
use super::missing::Missing;
use super::program::Node;

static TRUE: CelBool = CelBool::TRUE;
static FALSE: CelBool = CelBool::FALSE;

/// The result of a part of an evaluation.
type Evaluated<'e, 'v> = Result<CowVal<'e, 'v>, ExecutionError>;

/// An evaluation.
#[derive(Clone, Copy)]
pub(super) struct Machine<'e, 'v> {
    pub(super) attributes: &'v dyn VariableResolver,
    pub(super) fuel: &'e Fuel,
    pub(super) missing: Missing<'e>,
}

/// The variable of an enclosing macro, and those around it.
#[derive(Clone, Copy)]
pub(super) struct Scope<'s, 'v> {
    variable: &'s (dyn Val + 'v),
    around: Option<&'s Scope<'s, 'v>>,
}

/// A value, taken out of the optional value that it may be in.
enum Unwrapped<'e, 'v> {
    /// It was not optional.
    Plain(CowVal<'e, 'v>),
    Some(CowVal<'e, 'v>),
    None,
}

// === impl Machine ===

impl<'v> Machine<'_, 'v> {
    /// Returns the value of a node. It recurses as deep as the text is nested, which is bounded.
    pub(super) fn evaluate<'e>(
        self,
        node: &'e Node,
        scope: Option<&'e Scope<'e, 'v>>,
    ) -> Evaluated<'e, 'v>
    where
        'v: 'e,
    {
        self.fuel.step(1)?;
        match node {
            Node::Literal(literal) => Ok(literal.to_val()),
            Node::Attribute(name) => self.attribute(name),
            Node::Local(depth) => local(scope, *depth),
            Node::Select(select) => self.select(select, scope),
            Node::Index(index) => self.index(index, scope),
            Node::And(pair) => self.connective(pair, scope, false),
            Node::Or(pair) => self.connective(pair, scope, true),
            Node::Not(of) => self.not(of, scope),
            Node::Negate(of) => self.negate(of, scope),
            Node::Conditional(nodes) => {
                let [condition, then, otherwise] = &**nodes;
                if truth(&self.evaluate(condition, scope)?)? {
                    self.evaluate(then, scope)
                } else {
                    self.evaluate(otherwise, scope)
                }
            }
            Node::Binary(operator, pair) => {
                let [left, right] = &**pair;
                let left = self.evaluate(left, scope)?;
                let right = self.evaluate(right, scope)?;
                self.binary(*operator, &left, &right)
            }
            Node::List(elements) => self.list(elements, scope),
            Node::Map(entries) => self.map(entries, scope),
            Node::Loop(of) => self.iterate(of, scope),
            Node::Matches(matches) => self.matches(matches, scope),
            Node::Function(function) => self.function(function, scope),
            Node::FirstOf(nodes) => self.first_of(nodes, scope),
            Node::Method(call) => self.method(call, scope),
        }
    }

    /// Evaluates operands in their order.
    fn all<'e>(
        self,
        nodes: &'e [Node],
        scope: Option<&'e Scope<'e, 'v>>,
    ) -> Result<Vec<CowVal<'e, 'v>>, ExecutionError>
    where
        'v: 'e,
    {
        nodes
            .iter()
            .map(|node| self.evaluate(node, scope))
            .collect()
    }
}

/// Returns the variable of an enclosing macro.
fn local<'e, 'v: 'e>(scope: Option<&'e Scope<'e, 'v>>, depth: usize) -> Evaluated<'e, 'v> {
    let scopes = std::iter::successors(scope, |scope| scope.around);
    let mut outer = scopes.skip(depth);
    match outer.next() {
        Some(scope) => Ok(CowVal::Borrowed(scope.variable)),
        // The compiler counts the same scopes.
        None => Err(ExecutionError::MissingArgumentOrTarget),
    }
}

/// Returns a boolean as a value.
fn boolean<'e, 'v>(truth: bool) -> CowVal<'e, 'v> {
    CowVal::Borrowed(if truth { &TRUE } else { &FALSE })
}

/// Returns the boolean that a value is.
fn truth(value: &CowVal<'_, '_>) -> Result<bool, ExecutionError> {
    match value.downcast_ref::<CelBool>() {
        Some(truth) => Ok(*truth.inner()),
        None => Err(unexpected(value.as_ref(), "bool")),
    }
}

/// Returns whether a value is the boolean false.
pub(super) fn is_false(value: &CowVal<'_, '_>) -> bool {
    truth(value) == Ok(false)
}

/// Returns the error of a value whose type is not the one that is needed.
fn unexpected(value: &dyn Val, want: &str) -> ExecutionError {
    ExecutionError::UnexpectedType {
        got: value.get_type().name().to_owned(),
        want: want.to_owned(),
    }
}

/// Returns the error of an operator or function for operands of these types. It copies no values.
fn unsupported<'a>(name: &str, operands: impl IntoIterator<Item = &'a dyn Val>) -> ExecutionError {
    let types = operands
        .into_iter()
        .map(|operand| operand.get_type().name().to_owned());
    ExecutionError::no_such_overload(name, types.collect())
}

fn unwrap_optional<'e, 'v>(value: CowVal<'e, 'v>) -> Unwrapped<'e, 'v> {
    match value {
        CowVal::Borrowed(value) => match value.downcast_ref::<CelOptional<'v>>() {
            None => Unwrapped::Plain(CowVal::Borrowed(value)),
            Some(optional) => optional
                .option()
                .map_or(Unwrapped::None, |value| Unwrapped::Some(value.into())),
        },
        CowVal::Owned(value) => {
            if value.downcast_ref::<CelOptional<'v>>().is_none() {
                return Unwrapped::Plain(CowVal::Owned(value));
            }
            match value.into_builtin() {
                Some(Builtin::Optional(optional)) => Option::<Box<dyn Val + 'v>>::from(optional)
                    .map_or(Unwrapped::None, |value| Unwrapped::Some(value.into())),
                _ => Unwrapped::None,
            }
        }
    }
}
