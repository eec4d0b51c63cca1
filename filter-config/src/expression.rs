//! CEL expressions: compiled once, with what they read from the host known beforehand.
//!
//! To evaluate one, resolve its [`Expression::uses`], and give the evaluator a context on
//! [`environment`] with a resolver for them. The evaluator asks the resolver for the longest dotted
//! name first (`request.headers`), then for its beginnings (`request`). It asks for the root alone
//! in `has(request.time)`, `request["path"]` and `request.?path`, so the resolver has to know the
//! root as well: as a map of those fields that the expression uses and that the host has.

mod attribute;
mod compile;
mod environment;
mod fault;
mod functions;
mod literal;
mod missing;
mod nesting;
mod pattern;
mod plain;
mod pointer;

use cel::Program;

pub use attribute::{Attribute, Kind, LLM_FIELDS, LlmField, PROPERTIES, Property};
pub use environment::{REQUEST_BODY, environment};
pub use fault::ExpressionFault;
pub use missing::missing;
pub use plain::{Plain, Question, Subject};
pub(crate) use pointer::is_pointer;

/// A compiled CEL expression.
#[derive(Debug)]
pub struct Expression {
    source: String,
    program: Program,
    plain: Option<Plain>,
    uses: Vec<Attribute>,
}

/// What an expression is for, which decides what it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A predicate of a `when`.
    Predicate,
    /// A counter of a limit.
    Counter,
    /// The amount of a reservation.
    Amount,
}

// === impl Expression ===

impl Expression {
    /// Compiles an expression and checks it as far as it can be without its values.
    ///
    /// # Errors
    ///
    /// All that is wrong with it; never empty.
    pub(crate) fn compile(source: &str, role: Role) -> Result<Self, Vec<ExpressionFault>> {
        let source = source.trim();
        let (program, uses) = compile::compile(source, role)?;
        Ok(Expression {
            source: source.to_owned(),
            program,
            plain: Plain::of(source),
            uses,
        })
    }

    /// The text of the expression, without white space around it.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The program, to be evaluated in the [`environment`].
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The expression in a form that needs no evaluator, if it has one.
    #[must_use]
    pub fn plain(&self) -> Option<&Plain> {
        self.plain.as_ref()
    }

    /// What the expression reads of the host, sorted, each once.
    #[must_use]
    pub fn uses(&self) -> &[Attribute] {
        &self.uses
    }

    /// Whether the expression reads the request's body, or what of `llm` is known from it, so that it
    /// cannot be evaluated before it. What `provider` and `api` are, the headers tell.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        self.uses.iter().any(Attribute::needs_body)
    }
}

#[cfg(test)]
mod tests;
