//! Plain expressions, which need no evaluator: most predicates and counters of policies.
//!
//! An evaluation costs more than the rest of a decision, and policies mostly have a few forms of expressions: a
//! comparison of the path, a search in the caller's groups, the caller's name. These forms are recognized by their
//! text. They have the value that the evaluator would find, provided that what they read is a string. Otherwise the
//! expression has to be evaluated.

/// An expression that compares or returns one string of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    /// The string that is read.
    pub subject: Subject,
    /// What the expression returns of it.
    pub question: Question,
}

/// A string of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A variable, by its dotted name: `request.path`, `auth.identity.userid`.
    Variable(String),
    /// A request header, by its name in lower case: `request.headers["x-tier"]`.
    Header(String),
}

/// What a plain expression returns of its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The string itself: `auth.identity.userid`.
    Value,
    /// Whether it equals this text: `request.path == "/v1/chat/completions"`.
    Equals(String),
    /// Whether it differs from this text.
    Differs(String),
    /// Whether it starts with this text.
    StartsWith(String),
    /// Whether one of its parts equals this text: `auth.identity.groups.split(",").exists(g, g == "free")` or
    /// `"free" in auth.identity.groups.split(",")`.
    Splits {
        /// The separator of the parts, not empty.
        separator: String,
        /// The part to find.
        part: String,
    },
}

// === impl Plain ===

impl Plain {
    /// Returns the plain form of a valid expression, or `None` if it is not plain.
    pub(super) fn of(source: &str) -> Option<Self> {
        use Token::{Call, Close, CloseIndex, Comma, Differs, Equals, In, Index, Name, Text};
        let tokens = tokens(source)?;
        let (subject, question) = match tokens.as_slice() {
            [Name(name)] => (variable(name)?, Question::Value),
            [Name("request.headers"), Index, Text(header), CloseIndex] => (
                Subject::Header(header.to_ascii_lowercase()),
                Question::Value,
            ),
            [Name(name), Equals, Text(text)] | [Text(text), Equals, Name(name)] => {
                (variable(name)?, Question::Equals((*text).to_owned()))
            }
            [Name(name), Differs, Text(text)] | [Text(text), Differs, Name(name)] => {
                (variable(name)?, Question::Differs((*text).to_owned()))
            }
            [
                Name("request.headers"),
                Index,
                Text(header),
                CloseIndex,
                Equals,
                Text(text),
            ] => (
                Subject::Header(header.to_ascii_lowercase()),
                Question::Equals((*text).to_owned()),
            ),
            [Name(method), Call, Text(text), Close] => (
                variable(method.strip_suffix(".startsWith")?)?,
                Question::StartsWith((*text).to_owned()),
            ),
            [
                Name(method),
                Call,
                Text(separator),
                Close,
                Name(".exists"),
                Call,
                Name(part),
                Comma,
                Name(same),
                Equals,
                Text(text),
                Close,
            ] if part == same => splits(method, separator, text)?,
            [Text(text), In, Name(method), Call, Text(separator), Close] => {
                splits(method, separator, text)?
            }
            _ => return None,
        };
        Some(Plain { subject, question })
    }
}

fn splits(method: &str, separator: &str, part: &str) -> Option<(Subject, Question)> {
    if separator.is_empty() {
        // The parts would be the characters.
        return None;
    }
    let question = Question::Splits {
        separator: separator.to_owned(),
        part: part.to_owned(),
    };
    Some((variable(method.strip_suffix(".split")?)?, question))
}

fn variable(name: &str) -> Option<Subject> {
    (!name.starts_with('.')).then(|| Subject::Variable(name.to_owned()))
}

// === impl Question ===

impl Question {
    /// Returns the result for a string, or `None` if the result is the string itself.
    #[must_use]
    pub fn answer(&self, subject: &str) -> Option<bool> {
        Some(match self {
            Self::Value => return None,
            Self::Equals(text) => subject == text,
            Self::Differs(text) => subject != text,
            Self::StartsWith(text) => subject.starts_with(text),
            Self::Splits { separator, part } => {
                subject.split(separator.as_str()).any(|found| found == part)
            }
        })
    }
}

/// A token of a plain expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'s> {
    /// Names joined with dots, with a leading dot after a value.
    Name(&'s str),
    /// The content of a string literal without escapes.
    Text(&'s str),
    Equals,
    Differs,
    In,
    Call,
    Close,
    Index,
    CloseIndex,
    Comma,
}

/// Tokens of the longest plain expression.
const MAX_TOKENS: usize = 12;

/// Returns the tokens of an expression, if it has no other tokens than these.
fn tokens(source: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::with_capacity(MAX_TOKENS);
    let mut rest = source.trim();
    while !rest.is_empty() {
        if tokens.len() == MAX_TOKENS {
            return None;
        }
        let (token, after) = token(rest)?;
        tokens.push(token);
        rest = after.trim_start();
    }
    Some(tokens)
}

fn token(source: &str) -> Option<(Token<'_>, &str)> {
    const SIGNS: [(&str, Token<'static>); 7] = [
        ("==", Token::Equals),
        ("!=", Token::Differs),
        ("(", Token::Call),
        (")", Token::Close),
        ("[", Token::Index),
        ("]", Token::CloseIndex),
        (",", Token::Comma),
    ];
    for (sign, token) in SIGNS {
        if let Some(after) = source.strip_prefix(sign) {
            return Some((token, after));
        }
    }
    if let Some(quote) = source
        .chars()
        .next()
        .filter(|first| matches!(first, '"' | '\''))
    {
        let (text, after) = source.strip_prefix(quote)?.split_once(quote)?;
        let is_literal = !text.contains(['\\', '\n', '\r']);
        return is_literal.then_some((Token::Text(text), after));
    }
    let end = source.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.')));
    let (name, after) = source.split_at_checked(end.unwrap_or(source.len()))?;
    match name {
        "in" => Some((Token::In, after)),
        // A number, a string literal with a prefix, and anything that is not a token of a plain expression.
        _ if name.is_empty()
            || name.starts_with(|c: char| c.is_ascii_digit())
            || after.starts_with(['"', '\'']) =>
        {
            None
        }
        _ => Some((Token::Name(name), after)),
    }
}

#[cfg(test)]
mod tests;
