//! The messages of the CEL parser, in the terms of its users.

#[cfg(test)]
mod tests;

/// The maximum number of characters of a message.
const MAX_MESSAGE_CHARS: usize = 160;

/// Operators of other languages, each with CEL's.
const OPERATORS: &[(&str, &str)] = &[
    ("=", "=="),
    ("===", "=="),
    ("<>", "!="),
    ("and", "&&"),
    ("&", "&&"),
    ("or", "||"),
    ("|", "||"),
    ("not", "!"),
];

/// Returns the message for an error of the parser, which names the token where it failed.
pub(super) fn message(text: &str) -> String {
    let text = text.strip_prefix("Syntax error: ").unwrap_or(text);
    let message = match token(text) {
        Some("<EOF>") => "unexpected end, expected the rest of the expression".to_owned(),
        Some(token) => {
            let known = OPERATORS.iter().find(|(other, _)| *other == token);
            let hint = known.map(|(_, operator)| format!(", did you mean {operator:?}?"));
            format!("unexpected {token:?}{}", hint.unwrap_or_default())
        }
        None => text.to_owned(),
    };
    message.chars().take(MAX_MESSAGE_CHARS).collect()
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
