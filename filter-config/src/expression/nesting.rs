//! Bounds the nesting of an expression, by its text.
//!
//! The parser and the evaluator recurse, and the stack of a Wasm module is small: an expression that would exhaust it
//! has to be rejected before it is parsed.

use super::error::ExpressionError;

/// Nested brackets. In a release build the parser takes 8 KiB of stack for each.
const MAX_BRACKETS: usize = 23;

/// Names and literals that operators and selections join, such as the three of `a.b + 1`, over all open brackets. The
/// parser takes half a KiB of stack for each.
const MAX_OPERANDS: usize = 256;

/// Checks the nesting of an expression.
///
/// # Errors
///
/// An expression that is nested too deeply, or has a string literal without an end or with an unknown escape, after
/// which text could not be distinguished from brackets.
pub(super) fn check(source: &str) -> Result<(), ExpressionError> {
    let mut text = Text { rest: source };
    // The operands in a row outside of brackets, and in each open bracket.
    let mut levels: Vec<usize> = vec![0];
    while let Some(token) = text.token(source)? {
        match token {
            Token::Operand => count(&mut levels),
            Token::Other('(' | '[' | '{') => {
                count(&mut levels);
                levels.push(0);
            }
            Token::Other(')' | ']' | '}') if levels.len() > 1 => {
                levels.pop();
            }
            // The parser balances trees of && and ||, and itself bounds the depth of ?:.
            Token::Other(',' | '&' | '|' | '?' | ':') => {
                if let Some(level) = levels.last_mut() {
                    *level = 0;
                }
            }
            Token::Other(_) => {}
        }
        let operands = levels
            .iter()
            .fold(0_usize, |sum, level| sum.saturating_add(*level));
        // The first level is outside of brackets.
        let brackets = levels.len().saturating_sub(1);
        if brackets > MAX_BRACKETS || operands > MAX_OPERANDS {
            return Err(ExpressionError::TooDeep {
                brackets: MAX_BRACKETS,
                operands: MAX_OPERANDS,
            });
        }
    }
    Ok(())
}

fn count(levels: &mut [usize]) {
    if let Some(level) = levels.last_mut() {
        *level = level.saturating_add(1);
    }
}

/// A token of an expression.
enum Token {
    /// A name, a number or a string literal.
    Operand,
    /// Any other character.
    Other(char),
}

/// The rest of an expression.
struct Text<'a> {
    rest: &'a str,
}

// === impl Text ===

impl Text<'_> {
    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let character = characters.next();
        self.rest = characters.as_str();
        character
    }

    fn skip(&mut self, prefix: &str) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Returns the next token. Comments are skipped.
    fn token(&mut self, source: &str) -> Result<Option<Token>, ExpressionError> {
        while self.skip("//") {
            while self.next().is_some_and(|character| character != '\n') {}
        }
        let start = self.rest;
        let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
        let after = start.trim_start_matches(is_word);
        let word = start.strip_suffix(after).unwrap_or_default();
        self.rest = after;
        if word.is_empty() || after.starts_with(['"', '\'']) {
            match self.next() {
                Some(quote @ ('"' | '\'')) => {
                    // The parser accepts a prefixed literal that begins within a number; this check does not.
                    let is_number = word.starts_with(|character: char| character.is_ascii_digit());
                    let is_raw = ["r", "br"].contains(&word.to_ascii_lowercase().as_str());
                    if is_number || !self.string(quote, is_raw) {
                        return Err(ill_formed(source, start));
                    }
                }
                // Quoted names, which no attribute needs, could contain brackets.
                Some('`') => return Err(ill_formed(source, start)),
                other => return Ok(other.map(Token::Other)),
            }
        }
        Ok(Some(Token::Operand))
    }

    /// Reads to the end of a string literal whose first quote has been read. Returns whether it is well-formed.
    fn string(&mut self, quote: char, is_raw: bool) -> bool {
        let two_more = if quote == '"' { "\"\"" } else { "''" };
        let is_triple = self.skip(two_more);
        loop {
            match self.next() {
                Some('\\') if !is_raw => {
                    if !self.escape() {
                        return false;
                    }
                }
                Some(character) if character == quote => {
                    if !is_triple || self.skip(two_more) {
                        return true;
                    }
                }
                Some('\n' | '\r') if !is_triple => return false,
                Some(_) => {}
                None => return false,
            }
        }
    }

    fn escape(&mut self) -> bool {
        let digits = |text: &mut Self, count: usize, radix: u32| {
            (0..count).all(|_| text.next().is_some_and(|digit| digit.is_digit(radix)))
        };
        match self.next() {
            Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' | '?' | '"' | '\'' | '`') => true,
            Some('x' | 'X') => digits(self, 2, 16),
            Some('u') => digits(self, 4, 16),
            Some('U') => digits(self, 8, 16),
            Some('0'..='3') => digits(self, 2, 8),
            _ => false,
        }
    }
}

/// Returns the error of a literal that is not well-formed. `rest` is the text from it on.
fn ill_formed(source: &str, rest: &str) -> ExpressionError {
    let before = source.get(..source.len().saturating_sub(rest.len()));
    let before = before.unwrap_or(source);
    let line = before.rsplit('\n').next().unwrap_or(before);
    ExpressionError::Syntax {
        line: before.matches('\n').count().saturating_add(1),
        column: line.chars().count().saturating_add(1),
        message: "found a literal without an end or with an unknown escape".to_owned(),
    }
}

#[cfg(test)]
mod tests;
