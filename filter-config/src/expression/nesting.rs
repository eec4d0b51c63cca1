//! How deep an expression is nested, told from its text.
//!
//! The parser and the evaluator recurse, and the stack of a Wasm module is small: what would
//! exhaust it has to be refused before the parser sees it.

use super::fault::ExpressionFault;

/// Brackets within one another. In a release build the parser takes 8 KiB of stack for each.
const BRACKETS: usize = 24;

/// Names and literals in a row that operators and selections join, such as the three of `a.b + 1`,
/// over all open brackets. The parser takes half a KiB for each.
const OPERANDS: usize = 256;

/// Checks the depth of an expression's text.
///
/// # Errors
///
/// A fault where it is nested too deeply, or has a string literal that ends nowhere or has an
/// unknown escape, after which text could not be told from brackets.
pub(super) fn check(source: &str) -> Result<(), ExpressionFault> {
    let mut text = Text { rest: source };
    // The operands in a row within each open bracket, and first those in none.
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
            // The parser balances trees of && and ||, and bounds the depth of ?: by itself.
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
        if levels.len() > BRACKETS || operands > OPERANDS {
            return Err(ExpressionFault::TooDeep {
                brackets: BRACKETS,
                operands: OPERANDS,
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

/// A part of an expression's text.
enum Token {
    /// A name, a number, a string literal.
    Operand,
    /// Any other character.
    Other(char),
}

/// What of an expression is still to be read.
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

    /// The next token, comments being none.
    fn token(&mut self, source: &str) -> Result<Option<Token>, ExpressionFault> {
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
                    // To the parser a literal with a prefix may begin within a number: nobody writes that.
                    let is_number = word.starts_with(|character: char| character.is_ascii_digit());
                    let is_raw = ["r", "br"].contains(&word.to_ascii_lowercase().as_str());
                    if is_number || !self.string(quote, is_raw) {
                        return Err(ill_formed(source, start));
                    }
                }
                // Quoted names, which are not in use, would have to be told from brackets too.
                Some('`') => return Err(ill_formed(source, start)),
                other => return Ok(other.map(Token::Other)),
            }
        }
        Ok(Some(Token::Operand))
    }

    /// Reads on to the end of a string literal whose first quote has been read.
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

/// The fault of a literal that cannot be read, `rest` being the text from it on.
fn ill_formed(source: &str, rest: &str) -> ExpressionFault {
    let before = source.get(..source.len().saturating_sub(rest.len()));
    let before = before.unwrap_or(source);
    let line = before.rsplit('\n').next().unwrap_or(before);
    ExpressionFault::Syntax {
        line: before.matches('\n').count().saturating_add(1),
        column: line.chars().count().saturating_add(1),
        message: "a literal that does not end, or has an unknown escape".to_owned(),
    }
}

#[cfg(test)]
mod tests;
