//! The errors of the parser, and their messages.

#[cfg(test)]
mod tests;

use cel::common::ast::IdedExpr;

use super::error::ExpressionError;
use super::functions::{self, Style};

/// The maximum number of characters of a message.
const MAX_MESSAGE_CHARS: usize = 160;

/// Operators of other languages, each with CEL's.
const OPERATORS: &[(&str, &str)] = &[
    ("=", "=="),
    ("===", "=="),
    ("and", "&&"),
    ("&", "&&"),
    ("or", "||"),
    ("|", "||"),
    ("not", "!"),
    ("is", "=="),
];

/// A reason to reject a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// The position in bytes.
    pub(super) at: usize,
    pub(super) reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// A token of this many bytes is not possible here.
    Unexpected(usize),
    /// The text ends where this symbol is expected.
    End(&'static str),
    /// A token of this many bytes is not possible here, as it is a reserved word.
    Reserved(usize),
    /// A string literal has no end, or an escape that does not exist.
    IllFormed,
    /// A literal has no value, for this reason.
    Literal(&'static str),
    /// The argument of `has` is not a field.
    Has,
    /// The first argument of a macro is not a name.
    Variable,
    /// Conditions are nested too deeply.
    Conditions,
}

/// The result of parsing a part of an expression.
pub(super) type Parsed<T = IdedExpr> = Result<T, SyntaxError>;

/// Returns the error of the parser as users see it.
pub(super) fn error(source: &str, error: SyntaxError) -> ExpressionError {
    let (before, rest) = source.split_at_checked(error.at).unwrap_or((source, ""));
    let line = before.rsplit('\n').next().unwrap_or(before);
    let message = message(source, rest, error.reason);
    ExpressionError::Syntax {
        line: before.matches('\n').count().saturating_add(1),
        column: line.chars().count().saturating_add(1),
        message: message.chars().take(MAX_MESSAGE_CHARS).collect(),
    }
}

/// Returns the message for a reason to reject a text. `rest` is the text from there on.
fn message(source: &str, rest: &str, reason: Reason) -> String {
    match reason {
        Reason::Unexpected(bytes) => unexpected(source, rest.get(..bytes).unwrap_or(rest)),
        Reason::End(symbol) => format!("unexpected end, expected {symbol:?}"),
        Reason::Reserved(bytes) => {
            let word = rest.get(..bytes).unwrap_or(rest);
            format!("found the reserved word {word:?}, expected another name")
        }
        Reason::IllFormed => "found a literal without an end or with an unknown escape".to_owned(),
        Reason::Literal(problem) => problem.to_owned(),
        Reason::Has => "invalid argument of `has`, expected a field, as in `has(llm.model)` or `has(requestBodyJSON(\"\").x)`; for headers, `\"x\" in request.headers`".to_owned(),
        Reason::Variable => "invalid argument of a macro, expected a name, as in `auth.groups.exists(g, g == \"free\")`".to_owned(),
        Reason::Conditions => "found too many nested conditions `a ? b : c`, expected a map or a list".to_owned(),
    }
}

/// Returns the message for a token that is not possible where it is.
fn unexpected(source: &str, token: &str) -> String {
    if token.is_empty() {
        return "unexpected end, expected the rest of the expression".to_owned();
    }
    if token == "("
        && let Some(method) = optional_call(source)
    {
        return format!("unexpected \"(\", did you mean \".{method}(\" without a question mark?");
    }
    let known = OPERATORS.iter().find(|(other, _)| *other == token);
    let operator = known.map(|(_, operator)| *operator);
    // `not` is a name for the parser, and what follows it has no place.
    let operator = operator.or_else(|| follows_not(source, token).then_some("!"));
    // `<` is an operator, and the second half of `<>` has no place.
    let is_unequal = token == ">" && source.contains("<>");
    let operator = operator.or_else(|| is_unequal.then_some("!="));
    let hint = operator.map(|operator| format!(", did you mean {operator:?}?"));
    format!("unexpected {token:?}{}", hint.unwrap_or_default())
}

/// Returns whether the word `not` is before a token.
fn follows_not(source: &str, token: &str) -> bool {
    let mut words = source.split("not ").skip(1);
    !token.is_empty() && words.any(|rest| rest.trim_start().starts_with(token))
}

/// Returns the name of the first method that is called with `.?`, which only fields have.
fn optional_call(source: &str) -> Option<&str> {
    let mut parts = source.split(".?").skip(1);
    parts.find_map(|part| {
        let (name, _) = part.split_once('(')?;
        functions::find(name, Style::Member).map(|_| name)
    })
}
