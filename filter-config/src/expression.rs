//! CEL expressions: compiled once, with what they read from the host known beforehand.
//!
//! To evaluate one, resolve its [`Expression::uses`], and give the evaluator a context on
//! [`environment`] with a resolver for them. The evaluator asks the resolver for the longest dotted
//! name first (`request.headers`), then for its beginnings (`request`). It asks for the root alone
//! in `has(request.time)`, `request["path"]` and `request.?path`, so the resolver has to know the
//! root as well: as a map of those fields that the expression uses and that the host has.

mod arithmetic;
mod attribute;
mod compile;
mod environment;
mod fault;
mod formula;
mod functions;
mod literal;
mod missing;
mod nesting;
mod origin;
mod pattern;
mod plain;
mod pointer;
mod yields;

use cel::common::ast::IdedExpr;

pub use arithmetic::Number;
pub use attribute::{
    Attribute, COST_ALIASES, Kind, LLM_FIELDS, LlmField, PROPERTIES, Property, REMOTE_ADDRESS,
    RESPONSE_FIELDS, ResponseField, USAGE_FIELDS, UsageField, aliased,
};
pub use environment::{REQUEST_BODY, environment};
pub use fault::ExpressionFault;
pub use formula::Formula;
pub use missing::missing;
pub use plain::{Plain, Question, Subject};
pub(crate) use pointer::is_pointer;

/// A compiled CEL expression.
#[derive(Debug)]
pub struct Expression {
    source: String,
    root: IdedExpr,
    plain: Option<Plain>,
    formula: Option<Formula>,
    uses: Vec<Attribute>,
    is_callers: bool,
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
    /// The limit of a rate.
    Limit,
    /// The window of a rate.
    Window,
    /// What an exchange costs, evaluated when it is over.
    Cost,
}

impl Role {
    /// Whether the expression yields a number, so that [`arithmetic`] is that of numbers of all types.
    pub(crate) const fn is_number(self) -> bool {
        matches!(self, Self::Amount | Self::Limit | Self::Cost)
    }

    /// What the expression is, in words.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Predicate => "predicate",
            Self::Counter => "counter",
            Self::Amount => "reservation",
            Self::Limit => "limit",
            Self::Window => "window",
            Self::Cost => "cost",
        }
    }
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
        let (mut root, uses) = compile::compile(source, role)?;
        if let Some(fault) = yields::check(&root, role) {
            return Err(vec![fault]);
        }
        let is_callers = origin::is_callers(&root);
        if role.is_number() {
            arithmetic::replace(&mut root);
        }
        Ok(Expression {
            source: source.to_owned(),
            formula: role.is_number().then(|| Formula::of(&root)).flatten(),
            root,
            plain: Plain::of(source),
            uses,
            is_callers,
        })
    }

    /// The text of the expression, without white space around it.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What is to be evaluated, in the [`environment`].
    #[must_use]
    pub fn root(&self) -> &IdedExpr {
        &self.root
    }

    /// The expression in a form that needs no evaluator, if it has one.
    #[must_use]
    pub fn plain(&self) -> Option<&Plain> {
        self.plain.as_ref()
    }

    /// A number in a form that needs no evaluator, if it has one.
    #[must_use]
    pub fn formula(&self) -> Option<&Formula> {
        self.formula.as_ref()
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

    /// Whether a caller can make the value anything he likes, rather than only choose among those that
    /// the expression names.
    #[must_use]
    pub fn is_callers(&self) -> bool {
        self.is_callers
    }
}

#[cfg(test)]
mod tests;
