//! What is wrong with an expression.

use thiserror::Error;

use crate::fault::did_you_mean;

/// Why an expression is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExpressionFault {
    /// The text is no CEL.
    #[error("not CEL, line {line}, column {column}: {message}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// Brackets within one another, or names and literals in a row, beyond the bounds.
    #[error(
        "nested too deeply, at most {brackets} brackets within one another and {operands} names in a row"
    )]
    TooDeep {
        /// The bound of brackets.
        brackets: usize,
        /// The bound of names and literals that operators and selections join.
        operands: usize,
    },
    /// A variable that there is not.
    #[error("unknown variable {name:?}{}", did_you_mean(.suggestion.as_ref()))]
    UnknownVariable {
        /// The name.
        name: String,
        /// The known name that comes closest.
        suggestion: Option<String>,
    },
    /// A field that a variable does not have.
    #[error("unknown field {field:?} of \"{variable}\"{}", did_you_mean(.suggestion.as_ref()))]
    UnknownField {
        /// The variable.
        variable: String,
        /// The field.
        field: String,
        /// The known field that comes closest.
        suggestion: Option<String>,
    },
    /// A function that there is not.
    #[error("unknown function {name:?}{}", did_you_mean(.suggestion.as_ref()))]
    UnknownFunction {
        /// The name.
        name: String,
        /// The known name that comes closest.
        suggestion: Option<String>,
    },
    /// A function that is called on a value as `x.f()`, called as `f(x)`, or the other way round.
    #[error("the function {name:?} has to be called as {usage}")]
    CallStyle {
        /// The name.
        name: String,
        /// How it is called.
        usage: &'static str,
    },
    /// A function called with more or fewer arguments than it takes.
    #[error("the function {name:?} takes {expected}, found {found}")]
    Arguments {
        /// The name.
        name: String,
        /// What it takes.
        expected: String,
        /// How many it was given.
        found: usize,
    },
    /// A type in a message literal that there is not.
    #[error("unknown type {0:?}")]
    UnknownType(String),
    /// A variable that has fields only, used as a value.
    #[error("\"{0}\" cannot be used as a whole, only its fields can, such as \"{0}.{1}\"")]
    Whole(String, String),
    /// A variable that has a fixed set of fields, indexed with what is known only at a request.
    #[error("the field of \"{0}\" has to be a name or a string literal")]
    DynamicField(String),
    /// A macro within another that goes over all of a value for each item of the other's.
    #[error(
        "a macro within another has to go over a literal or a part of what the other goes over"
    )]
    LoopInLoop,
    /// A variable that is known only after the response.
    #[error("`{name}` is known only after the response; a {role} sees only the request")]
    AfterResponse {
        /// The variable or the function.
        name: String,
        /// What the expression is for.
        role: &'static str,
    },
    /// A literal that is no JSON pointer.
    #[error("{0:?} is not a JSON pointer, expected one such as \"/model\"")]
    Pointer(String),
    /// A literal that is no regular expression.
    #[error("{pattern:?} is not a regular expression: {message}")]
    Pattern {
        /// The literal.
        pattern: String,
        /// What is wrong with it.
        message: String,
    },
    /// A literal that is no time zone, or the name of one.
    #[error(
        "{0:?} is not a time zone that tollgate has, expected \"UTC\" or an offset such as \"+02:00\""
    )]
    Zone(String),
    /// A predicate that can never be true or false.
    #[error("a predicate has to be true or false, this is {0}")]
    NotBoolean(&'static str),
    /// A counter that can never be told from others.
    #[error("a counter has to be a string, a number or a boolean, this is {0}")]
    NotCounter(&'static str),
    /// An amount that can never be a number of tokens.
    #[error("an amount has to be a number of tokens, this is {0}")]
    NotAmount(&'static str),
    /// A limit or a cost that can never be a number.
    #[error("a {0} has to be a number, this is {1}")]
    NotNumber(&'static str, &'static str),
    /// A window that can never be a duration.
    #[error("a window has to be a duration or a number of seconds, this is {0}")]
    NotWindow(&'static str),
    /// The response's body in a cost: it is not kept.
    #[error(
        "`responseBodyJSON` is not supported, as the body of a response is not kept; the provider's usage object is `usage.raw`"
    )]
    ResponseBody,
}
