//! Rust source as tokens: what is code, what is a comment, and what is a string.

#[cfg(test)]
mod tests;

/// A token, and the line that it starts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub kind: Kind,
    /// The text of an identifier or a comment (without its marks), what a string literal contains
    /// as it is written, or the one character of a punctuation mark.
    pub text: &'a str,
    /// Counted from 1.
    pub line: usize,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Identifier,
    Punctuation,
    String,
    Comment,
    /// A number, a character, a byte, or a lifetime.
    Other,
}

/// Splits a source file into its tokens. What does not end, ends with the file.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer {
        source,
        position: 0,
        line: 1,
    };
    std::iter::from_fn(|| lexer.next()).collect()
}

struct Lexer<'a> {
    source: &'a str,
    position: usize,
    line: usize,
}

// === impl Lexer ===

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Option<Token<'a>> {
        let white = self.rest().len() - self.rest().trim_start().len();
        self.advance(white);
        let line = self.line;
        let rest = self.rest();
        let first = rest.chars().next()?;
        let (kind, length, text) = if rest.starts_with("//") {
            let length = rest.find('\n').unwrap_or(rest.len());
            let text = rest[..length].trim_start_matches('/');
            (Kind::Comment, length, text.trim_start_matches('!'))
        } else if rest.starts_with("/*") {
            let length = block_comment(rest);
            let text = rest[..length].trim_matches(['/', '*', '!']);
            (Kind::Comment, length, text)
        } else if let Some((start, end, length)) = string(rest) {
            (Kind::String, length, &rest[start..end])
        } else if let Some(length) = character(rest) {
            (Kind::Other, length, &rest[..length])
        } else if is_word(first) {
            let start = if rest.starts_with("r#") { 2 } else { 0 };
            let length = word(&rest[start..]) + start;
            let kind = if first.is_ascii_digit() {
                Kind::Other
            } else {
                Kind::Identifier
            };
            (kind, length, &rest[start..length])
        } else {
            let length = first.len_utf8();
            (Kind::Punctuation, length, &rest[..length])
        };
        self.advance(length);
        Some(Token { kind, text, line })
    }

    fn rest(&self) -> &'a str {
        &self.source[self.position..]
    }

    fn advance(&mut self, bytes: usize) {
        self.line += self.rest()[..bytes].matches('\n').count();
        self.position += bytes;
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// The length of a word at the start.
fn word(rest: &str) -> usize {
    rest.find(|c| !is_word(c)).unwrap_or(rest.len())
}

/// The length of a block comment at the start; such comments nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut position = 0;
    while let Some(found) = rest[position..].find(['/', '*']) {
        position += found;
        if rest[position..].starts_with("/*") {
            depth += 1;
            position += 2;
        } else if rest[position..].starts_with("*/") {
            depth -= 1;
            position += 2;
            if depth == 0 {
                return position;
            }
        } else {
            position += 1;
        }
    }
    rest.len()
}

/// Where the content of a string literal at the start begins and ends, and the literal's length.
fn string(rest: &str) -> Option<(usize, usize, usize)> {
    let is_start = |byte: &u8| matches!(byte, b'"' | b'#');
    let prefix = rest.as_bytes().iter().take(3).position(is_start)?;
    if !["", "b", "c", "r", "br", "cr"].contains(&&rest[..prefix]) {
        return None;
    }
    let hashes = rest[prefix..].len() - rest[prefix..].trim_start_matches('#').len();
    let start = prefix + hashes + 1;
    let is_raw = rest[..prefix].ends_with('r');
    if !rest[prefix + hashes..].starts_with('"') || (hashes > 0 && !is_raw) {
        return None;
    }
    let length = if is_raw {
        let end = format!("\"{}", "#".repeat(hashes));
        rest[start..].find(&end)?
    } else {
        let bytes = rest.as_bytes();
        let mut end = start;
        while *bytes.get(end)? != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        end - start
    };
    Some((start, start + length, start + length + 1 + hashes))
}

/// The length of a character, a byte or a lifetime at the start.
fn character(rest: &str) -> Option<usize> {
    let quote = if rest.starts_with("b'") { 2 } else { 1 };
    if quote == 1 && !rest.starts_with('\'') {
        return None;
    }
    let content = &rest[quote..];
    let first = content.chars().next()?;
    if first == '\\' {
        // The character after the backslash may be a quote.
        let end = content.get(2..)?.find('\'')?;
        return Some(quote + 2 + end + 1);
    }
    if content[first.len_utf8()..].starts_with('\'') {
        return Some(quote + first.len_utf8() + 1);
    }
    Some(quote + word(content))
}
