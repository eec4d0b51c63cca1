//! Errors of expressions.

use thiserror::Error;

/// A reason to reject an expression.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ExpressionError {
    #[error("invalid CEL at line {line}, column {column}: {message}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// The message of the parser.
        message: String,
    },
    #[error(
        "nested too deeply, expected at most {brackets} nested brackets and {operands} operands in a row"
    )]
    TooDeep { brackets: usize, operands: usize },
    #[error("found a form that is not supported")]
    Unsupported,
    #[error("unknown variable {name:?}, {instead}")]
    UnknownVariable { name: String, instead: String },
    #[error("unknown field {field:?} of \"{variable}\", {instead}")]
    UnknownField {
        variable: String,
        field: String,
        instead: String,
    },
    #[error("unknown function {name:?}{suggestion}")]
    UnknownFunction { name: String, suggestion: String },
    /// A method that is called as a function, or a function that is called as a method.
    #[error("{name:?} must be called as a {style}")]
    CallStyle { name: String, style: &'static str },
    #[error("found {found} to {name:?}, expected {expected}")]
    Arguments {
        name: String,
        found: String,
        expected: String,
    },
    #[error("found a message of type {0:?}, expected none: messages are not supported")]
    Message(String),
    /// A variable that only has fields, used as a value.
    #[error("found \"{name}\" as a whole, expected one of its fields such as \"{name}.{example}\"")]
    Whole { name: String, example: String },
    /// A variable with a fixed set of fields, indexed with a value of the request.
    #[error("found a computed field of \"{0}\", expected a name or a string literal")]
    DynamicField(String),
    #[error(
        "found `{name}`, which is known only after the response; a {role} can only use the request"
    )]
    AfterResponse { name: String, role: &'static str },
    #[error("invalid JSON pointer {0:?}, expected e.g. \"/model\"")]
    Pointer(String),
    #[error("found a subtraction; for a name with dashes write `{0}`")]
    Dashes(String),
    #[error(
        "invalid list of JSON pointers, expected 1 to 16 literal texts, as in `requestBodyJSON([\"/max_tokens\", \"/max_completion_tokens\"])`"
    )]
    Pointers,
    #[error("invalid regular expression {pattern:?}: {message}")]
    Pattern { pattern: String, message: String },
    #[error("unknown time zone {0:?}, expected \"UTC\" or an offset such as \"+02:00\"")]
    Zone(String),
    /// An expression whose value can never have the type that its role needs.
    #[error("found {found}, expected {expected}")]
    Type {
        found: &'static str,
        expected: &'static str,
    },
    #[error("found `{method}` on a value that is not optional, expected {expected}")]
    NotOptional { method: String, expected: String },
    #[error(
        "found an optional value in a call of `{0}`, expected its value; add `.orValue(...)` to it"
    )]
    Optional(String),
    #[error(
        "`responseBodyJSON` is not supported, as response bodies are not kept; expected `usage.raw`, the provider's usage object"
    )]
    ResponseBody,
}
