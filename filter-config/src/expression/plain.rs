//! Expressions that are so plain that they need no evaluator: most of those that policies have.
//!
//! An evaluation costs more than all else that is decided at a request, and a policy asks the same
//! few things of every one: is this the path, is that among the caller's groups, who is it. These
//! forms are known by their text. Each has the value that the evaluator would find, as long as what
//! it reads is a string; where it is none, or absent, the evaluator has the word.

/// An expression that compares or yields one string of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    /// What is read.
    pub subject: Subject,
    /// What is asked of it.
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

/// What a plain expression asks of its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The string itself: `auth.identity.userid`.
    Value,
    /// Whether it is this text: `request.path == "/v1/chat/completions"`.
    Equals(String),
    /// Whether it is not this text.
    Differs(String),
    /// Whether it begins with this text.
    StartsWith(String),
    /// Whether one of its parts is this text: `auth.identity.groups.split(",").exists(g, g == "free")`,
    /// also as `"free" in auth.identity.groups.split(",")`.
    Splits {
        /// What is between the parts; not empty.
        separator: String,
        /// The part that is looked for.
        part: String,
    },
}

// === impl Plain ===

impl Plain {
    /// The plain form of an expression that compiles; `None` for all others, which are not plain.
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
        // Then the parts are the characters.
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
    /// The answer for a string; `None` where the question is for the string itself.
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

/// What plain expressions are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'s> {
    /// Names joined with dots; one that follows a value begins with a dot.
    Name(&'s str),
    /// What is between quotes, without escapes.
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

/// The most tokens that a plain expression has.
const MOST: usize = 12;

/// The tokens of an expression, if it has no others.
fn tokens(source: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::with_capacity(MOST);
    let mut rest = source.trim();
    while !rest.is_empty() {
        if tokens.len() == MOST {
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
        // A number, a quote with a prefix, and what a plain expression does not have.
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
