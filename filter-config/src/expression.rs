//! CEL expressions: compiled once, with the attributes that they read known beforehand.
//!
//! To evaluate an expression, resolve its [`Expression::uses`], and give [`Expression::evaluate`] a resolver for them,
//! and fuel. The evaluator first asks the resolver for the longest dotted name (`request.headers`), then for its
//! prefixes (`request`). In `has(request.time)`, `request["path"]` and `request.?path` it asks only for
//! the root, so the resolver has to resolve the root as well: as a map of those fields that the expression uses and
//! that have a value.

mod arithmetic;
mod assemble;
mod attribute;
mod compile;
mod condition;
mod environment;
mod error;
mod evaluate;
mod formula;
mod fuel;
mod functions;
mod literal;
mod missing;
mod optional;
mod origin;
mod parser;
mod pattern;
mod plain;
mod pointer;
mod program;
#[cfg(feature = "yaml")]
mod remark;
mod role;
mod spelling;
mod syntax;
#[cfg(any(test, feature = "test-util"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod yields;

use std::cell::Cell;
use std::sync::Arc;

use cel::ExecutionError;
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use thiserror::Error;

use evaluate::{Machine, is_false};
use missing::Missing;
use program::Node;

pub use arithmetic::Number;
pub use attribute::{
    Attribute, Kind, LLM_FIELDS, LlmField, Property, REMOTE_ADDRESS, RESPONSE_FIELDS,
    ResponseField, USAGE_FIELDS, UsageField, aliased,
};
#[cfg(test)]
pub(crate) use attribute::{COST_ALIASES, PROPERTIES};
pub use condition::{Compared, Condition};
pub use environment::REQUEST_BODY;
pub(crate) use error::ExpressionError;
pub use formula::Formula;
pub use fuel::{Exhausted, Fuel, FuelLimits};
pub(crate) use pattern::Pattern;
pub use plain::{Plain, Question, Subject};
#[cfg(feature = "yaml")]
pub(crate) use remark::{Negated, Remark, remarks};
pub(crate) use role::Role;

/// The reason that an expression has no value.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Failure {
    /// Its fuel does not pay for it.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// A value is missing, or the expression is a predicate that is false because of that.
    #[error("no value")]
    Missing,
    /// The evaluation failed for another reason, such as operands of the wrong type.
    #[error(transparent)]
    Execution(ExecutionError),
}

/// A compiled CEL expression. Its copies share what was compiled.
#[derive(Clone, Debug)]
pub struct Expression(Arc<Compiled>);

/// What an expression is compiled to.
#[derive(Debug)]
struct Compiled {
    source: String,
    program: Node,
    plain: Option<Plain>,
    formula: Option<Formula>,
    uses: Vec<Attribute>,
    /// Whether missing values read as null.
    reads_null: bool,
    is_client_controlled: bool,
}

// === impl Expression ===

impl Expression {
    /// Compiles an expression and checks it as far as possible without the values of its attributes.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, never empty.
    pub(crate) fn compile(source: &str, role: Role) -> Result<Self, Vec<ExpressionError>> {
        let source = source.trim();
        let (mut root, uses) = compile::compile(source, role)?;
        if let Some(error) = yields::check(&root, role) {
            return Err(vec![error]);
        }
        let is_client_controlled = origin::is_client_controlled(&root);
        if role.is_number() {
            arithmetic::replace(&mut root);
        }
        let Some(program) = assemble::assemble(&root) else {
            return Err(vec![ExpressionError::Unsupported]);
        };
        Ok(Self(Arc::new(Compiled {
            source: source.to_owned(),
            formula: role.is_number().then(|| Formula::of(&root)).flatten(),
            program,
            plain: Plain::of(source),
            uses,
            reads_null: role.reads_null(),
            is_client_controlled,
        })))
    }

    /// Returns the text of the expression, without white space around it.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Evaluates the expression with attributes from a resolver.
    ///
    /// # Errors
    ///
    /// [`Failure`]. If the fuel is exhausted, that is the error, whatever the values are. A predicate that is false
    /// because a value is missing has no value either, so that its caller can count it.
    pub fn evaluate<'v>(
        &'v self,
        attributes: &'v dyn VariableResolver,
        fuel: &'v Fuel,
    ) -> Result<CowVal<'v, 'v>, Failure> {
        let was_null_read = Cell::new(false);
        let missing = if self.0.reads_null {
            Missing::ReadsNull(&was_null_read)
        } else {
            Missing::Fails
        };
        let machine = Machine {
            attributes,
            fuel,
            missing,
        };
        let value = machine.evaluate(&self.0.program, None);
        if let Some(exhausted) = fuel.exhausted() {
            return Err(exhausted.into());
        }
        match value {
            Err(error) if missing::is_missing(&error) => Err(Failure::Missing),
            Err(error) => Err(Failure::Execution(error)),
            Ok(value) if was_null_read.get() && is_false(&value) => Err(Failure::Missing),
            Ok(value) => Ok(value),
        }
    }

    /// Returns the conditions of a predicate, in the order in which they are evaluated.
    #[must_use]
    pub fn conditions(&self) -> Vec<Condition> {
        if self.0.reads_null {
            condition::all(&self.0.program)
        } else {
            Vec::new()
        }
    }

    /// Returns the value that a request has for the condition at a position of a predicate, and for those of other
    /// predicates that have its form; `None` if only an evaluation of each shows whether they are true.
    #[must_use]
    pub fn compared(
        &self,
        position: usize,
        attributes: &dyn VariableResolver,
        fuel: &Fuel,
    ) -> Option<Compared> {
        condition::compared(&self.0.program, position, attributes, fuel)
    }

    /// Returns the expression in a form that needs no evaluator, if it has one.
    #[must_use]
    pub fn plain(&self) -> Option<&Plain> {
        self.0.plain.as_ref()
    }

    /// Returns the expression, if it yields a number, in a form that needs no evaluator, if it has one.
    #[must_use]
    pub fn formula(&self) -> Option<&Formula> {
        self.0.formula.as_ref()
    }

    /// Returns the attributes that the expression reads, sorted and without duplicates.
    #[must_use]
    pub fn uses(&self) -> &[Attribute] {
        &self.0.uses
    }

    /// Returns whether the expression can only be evaluated with the request's body: it reads the body, or a field of
    /// `llm` other than `provider` and `api`, which are known from the headers.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        self.0.uses.iter().any(Attribute::needs_body)
    }

    /// Returns whether a client can give the expression any value, rather than only choose among those that it names.
    #[must_use]
    pub fn is_client_controlled(&self) -> bool {
        self.0.is_client_controlled
    }
}
