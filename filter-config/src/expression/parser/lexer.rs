//! The tokens of an expression.

/// A token, by its position in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Name,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    /// An operator, a bracket, or a word that is not a name.
    Symbol(&'static str),
    /// A string literal without an end, or with an escape that does not exist.
    IllFormed,
    /// A character that begins no token.
    Unknown,
    /// The end of the text.
    End,
}

/// Symbols, a longer one before its prefix.
const SYMBOLS: [&str; 24] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!",
    "?", ":", "+", "*", "/", "%",
];

/// Words that are not names.
const WORDS: [&str; 4] = ["in", "true", "false", "null"];

/// The tokens of a text, without comments and white space. The end is not one of them.
pub(super) struct Lexer<'s> {
    source: &'s str,
    rest: &'s str,
}

// === impl Lexer ===

impl<'s> Lexer<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        Self {
            source,
            rest: source,
        }
    }

    /// Returns the position of the rest.
    fn at(&self) -> usize {
        self.source.len().saturating_sub(self.rest.len())
    }

    fn next_char(&mut self) -> Option<char> {
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

    /// Skips characters. Returns whether there were any.
    fn skip_all(&mut self, of: impl Fn(char) -> bool) -> bool {
        let rest = self.rest.trim_start_matches(of);
        let is_any = rest.len() < self.rest.len();
        self.rest = rest;
        is_any
    }

    fn skip_digits(&mut self) -> bool {
        self.skip_all(|character| character.is_ascii_digit())
    }

    fn kind(&mut self) -> Kind {
        let start = self.rest;
        if let Some(kind) = self.number() {
            return kind;
        }
        let is_word =
            self.skip_all(|character| character.is_ascii_alphanumeric() || character == '_');
        let word = start.strip_suffix(self.rest).unwrap_or_default();
        if let Some(quote @ ('"' | '\'')) = self.rest.chars().next() {
            let (is_bytes, is_raw) = match word {
                "" => (false, false),
                "r" | "R" => (false, true),
                "b" | "B" => (true, false),
                "br" | "bR" | "Br" | "BR" => (true, true),
                _ => return word_kind(word),
            };
            self.next_char();
            return match (self.string(quote, is_raw), is_bytes) {
                (false, _) => Kind::IllFormed,
                (true, true) => Kind::Bytes,
                (true, false) => Kind::String,
            };
        }
        if is_word {
            return word_kind(word);
        }
        let symbol = SYMBOLS.into_iter().find(|symbol| self.skip(symbol));
        symbol.map_or_else(
            || {
                self.next_char();
                Kind::Unknown
            },
            Kind::Symbol,
        )
    }

    /// Reads a number, if one is next.
    fn number(&mut self) -> Option<Kind> {
        let start = self.rest;
        let is_hex = self.skip("0x") && self.skip_all(|digit| digit.is_ascii_hexdigit());
        if !is_hex {
            self.rest = start;
            let has_digits = self.skip_digits();
            let whole = self.rest;
            let has_fraction = self.skip(".") && self.skip_digits();
            if !has_fraction {
                self.rest = whole;
            }
            if !has_digits && !has_fraction {
                return None;
            }
            let mantissa = self.rest;
            let has_exponent = (self.skip("e") || self.skip("E")) && {
                let _has_sign = self.skip("+") || self.skip("-");
                self.skip_digits()
            };
            if !has_exponent {
                self.rest = mantissa;
            }
            if has_fraction || has_exponent {
                return Some(Kind::Double);
            }
        }
        let is_unsigned = self.skip("u") || self.skip("U");
        Some(if is_unsigned { Kind::Uint } else { Kind::Int })
    }

    /// Reads to the end of a string literal whose first quote has been read. Returns whether it is well-formed.
    fn string(&mut self, quote: char, is_raw: bool) -> bool {
        let two_more = if quote == '"' { "\"\"" } else { "''" };
        let is_triple = self.skip(two_more);
        loop {
            match self.next_char() {
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
        let digits = |lexer: &mut Self, count: usize, radix: u32| {
            (0..count).all(|_| lexer.next_char().is_some_and(|digit| digit.is_digit(radix)))
        };
        match self.next_char() {
            Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' | '?' | '"' | '\'' | '`') => true,
            Some('x' | 'X') => digits(self, 2, 16),
            Some('u') => digits(self, 4, 16),
            Some('U') => digits(self, 8, 16),
            Some('0'..='3') => digits(self, 2, 8),
            _ => false,
        }
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            let is_space = |character| matches!(character, ' ' | '\t' | '\r' | '\n' | '\u{c}');
            let had_space = self.skip_all(is_space);
            let had_comment = self.skip("//");
            if had_comment {
                self.skip_all(|character| character != '\n');
            }
            if !had_space && !had_comment {
                break;
            }
        }
        if self.rest.is_empty() {
            return None;
        }
        let start = self.at();
        let kind = self.kind();
        Some(Token {
            kind,
            start,
            end: self.at(),
        })
    }
}

fn word_kind(word: &str) -> Kind {
    let reserved = WORDS.into_iter().find(|known| *known == word);
    reserved.map_or(Kind::Name, Kind::Symbol)
}
