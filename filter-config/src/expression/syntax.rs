//! The messages of the CEL parser, in the terms of its users.

#[cfg(test)]
mod tests;

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

/// The error of a parser on `has(x)` where `x` is not a field.
const INVALID_HAS: &str = "invalid argument to has() macro";

/// Returns the message for an error of the parser, which names the token where it failed.
pub(super) fn message(source: &str, text: &str) -> String {
    let text = text.strip_prefix("Syntax error: ").unwrap_or(text);
    let message = match token(text) {
        Some("<EOF>") => "unexpected end, expected the rest of the expression".to_owned(),
        Some("(") if let Some(method) = optional_call(source) => {
            format!("unexpected \"(\", did you mean \".{method}(\" without a question mark?")
        }
        Some(token) => {
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
        None if text == INVALID_HAS => {
            "invalid argument of `has`, expected a field, as in `has(llm.model)` or `has(requestBodyJSON(\"\").x)`; for headers, `\"x\" in request.headers`".to_owned()
        }
        None => text.to_owned(),
    };
    message.chars().take(MAX_MESSAGE_CHARS).collect()
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

/// Returns the token that a message is about: the first text between single quotes.
fn token(text: &str) -> Option<&str> {
    let starts = [
        "token recognition error at: '",
        "mismatched input '",
        "extraneous input '",
        "no viable alternative at input '",
    ];
    let rest = starts.iter().find_map(|start| text.strip_prefix(start))?;
    let end = rest.find("' expecting").or_else(|| rest.rfind('\''))?;
    Some(rest.get(..end)?.trim())
}
