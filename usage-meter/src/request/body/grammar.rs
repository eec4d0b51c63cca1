//! The grammar of JSON (RFC 8259), checked byte by byte as a document passes in pieces of any size.
//!
//! [`Grammar`] keeps one bit for each open object or array, and no part of the document. What it
//! finds goes to [`Tokens`]. It stops at the first byte that no JSON document can have there.

use crate::json::search;

/// The deepest nesting of objects and arrays; a document that nests deeper counts as malformed.
pub(super) const MAX_DEPTH: u16 = 512;

const DEPTH_WORDS: usize = 8;

/// What can follow the first byte of `true`, `false`, `null`, and of UTF-8's byte order mark, which servers
/// skip; each with a zero byte at its end. A [`State`] has a position here, so that it is small.
const WORDS: &[u8] = b"rue\0alse\0ull\0\xbb\xbf\0";

const TRUE: u8 = 0;
const FALSE: u8 = 4;
const NULL: u8 = 9;
const MARK: u8 = 13;

/// Receives the tokens of a document, in the order of its bytes, without white space.
pub(super) trait Tokens {
    /// Receives the start of an object, or else an array.
    fn open(&mut self, is_object: bool);
    /// Receives the end of the innermost object or array.
    fn close(&mut self, is_object: bool);
    /// Receives a comma or a colon.
    fn separator(&mut self, byte: u8);
    /// Receives the opening quote of a key or a string.
    fn begin_string(&mut self, is_key: bool);
    /// Receives the next bytes of it; the four digits after `\u` are among them.
    fn string(&mut self, bytes: &[u8], is_key: bool);
    /// Receives a backslash and the byte after it.
    fn escape(&mut self, byte: u8, is_key: bool);
    /// Receives its closing quote.
    fn end_string(&mut self, is_key: bool);
    /// Receives the start of a number, `true`, `false` or `null`.
    fn begin_literal(&mut self);
    /// Receives the next bytes of it.
    fn literal(&mut self, bytes: &[u8]);
    /// Receives its end.
    fn end_literal(&mut self);
}

/// What is known of the syntax of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// There is nothing but white space.
    Empty,
    /// The document is well-formed as far as it has come, but not complete.
    Incomplete,
    /// It is complete and well-formed.
    Complete,
    /// It is no JSON document.
    Malformed,
}

/// The state of the check.
#[derive(Debug)]
pub(super) struct Grammar {
    state: State,
    /// Whether the string that is being read is a key.
    is_key: bool,
    depth: u16,
    /// A bit for each open object or array: whether it is an object.
    objects: [u64; DEPTH_WORDS],
    /// The first bytes of a character that the last piece cut in two.
    character: [u8; 4],
    character_bytes: usize,
}

/// What the next byte may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first byte.
    Start,
    /// The rest of a byte order mark.
    Mark(u8),
    Value,
    /// A value, or the end of an empty array.
    FirstElement,
    /// A key, or the end of an empty object.
    FirstKey,
    Key,
    Colon,
    /// A comma, or the end of the innermost object or array.
    AfterValue,
    String,
    Escape,
    /// So many digits of a `\u` escape.
    Digits(u8),
    Number(Number),
    /// The rest of `true`, `false` or `null`.
    Word(u8),
    /// White space after the document.
    End,
    Malformed,
}

/// The part of a number that was read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
}

// === impl Grammar ===

impl Grammar {
    pub(super) const fn new() -> Self {
        Self {
            state: State::Start,
            is_key: false,
            depth: 0,
            objects: [0; DEPTH_WORDS],
            character: [0; 4],
            character_bytes: 0,
        }
    }

    /// Reads the next bytes.
    pub(super) fn push(&mut self, piece: &[u8], tokens: &mut impl Tokens) {
        let mut rest = piece;
        while let Some((&byte, tail)) = rest.split_first() {
            rest = match self.state {
                State::String => self.string(rest, tokens),
                State::Number(number) => self.number(number, rest, tokens),
                State::Malformed => return,
                _ => {
                    self.state = self.next(byte, tokens);
                    tail
                }
            };
        }
    }

    /// Ends the input: a number at the root ends with it.
    pub(super) fn finish(&mut self, tokens: &mut impl Tokens) {
        if let State::Number(number) = self.state
            && self.depth == 0
            && number.is_complete()
        {
            tokens.end_literal();
            self.state = State::End;
        }
    }

    pub(super) const fn syntax(&self) -> Syntax {
        match self.state {
            State::Start => Syntax::Empty,
            State::Value if self.depth == 0 => Syntax::Empty,
            State::End => Syntax::Complete,
            State::Malformed => Syntax::Malformed,
            _ => Syntax::Incomplete,
        }
    }

    /// Returns the state after a byte that is neither in a string nor in a number.
    fn next(&mut self, byte: u8, tokens: &mut impl Tokens) -> State {
        match (self.state, byte) {
            (State::Start, 0xef) => State::Mark(MARK),
            (State::Mark(at), _) => match word_state(at, byte) {
                WordState::Continues(at) => State::Mark(at),
                WordState::Ends => State::Value,
                WordState::Breaks => State::Malformed,
            },
            (State::Word(at), _) => {
                let state = word_state(at, byte);
                if state == WordState::Breaks {
                    return State::Malformed;
                }
                tokens.literal(&[byte]);
                if let WordState::Continues(at) = state {
                    return State::Word(at);
                }
                tokens.end_literal();
                self.after_value()
            }
            (State::Escape, b'u') => {
                tokens.escape(byte, self.is_key);
                State::Digits(4)
            }
            (State::Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                tokens.escape(byte, self.is_key);
                State::String
            }
            (State::Digits(left), _) if byte.is_ascii_hexdigit() => {
                tokens.string(&[byte], self.is_key);
                match left {
                    0 | 1 => State::String,
                    left => State::Digits(left.saturating_sub(1)),
                }
            }
            (State::Escape | State::Digits(_), _) => State::Malformed,
            (state, b' ' | b'\t' | b'\r' | b'\n') => match state {
                State::Start => State::Value,
                state => state,
            },
            (State::FirstElement, b']') => self.close(false, tokens),
            (State::FirstKey, b'}') => self.close(true, tokens),
            (State::Start | State::Value | State::FirstElement, _) => self.value(byte, tokens),
            (State::FirstKey | State::Key, b'"') => {
                self.is_key = true;
                tokens.begin_string(true);
                State::String
            }
            (State::Colon, b':') => {
                tokens.separator(byte);
                State::Value
            }
            (State::AfterValue, b',') => {
                tokens.separator(byte);
                if self.is_in_object() {
                    State::Key
                } else {
                    State::Value
                }
            }
            (State::AfterValue, b'}') if self.is_in_object() => self.close(true, tokens),
            (State::AfterValue, b']') if !self.is_in_object() => self.close(false, tokens),
            _ => State::Malformed,
        }
    }

    /// Returns the state after the first byte of a value.
    fn value(&mut self, byte: u8, tokens: &mut impl Tokens) -> State {
        let number = match byte {
            b'{' => return self.open(true, tokens),
            b'[' => return self.open(false, tokens),
            b'"' => {
                self.is_key = false;
                tokens.begin_string(false);
                return State::String;
            }
            b't' => State::Word(TRUE),
            b'f' => State::Word(FALSE),
            b'n' => State::Word(NULL),
            b'-' => State::Number(Number::Minus),
            b'0' => State::Number(Number::Zero),
            b'1'..=b'9' => State::Number(Number::Integer),
            _ => return State::Malformed,
        };
        tokens.begin_literal();
        tokens.literal(&[byte]);
        number
    }

    #[inline(never)]
    fn open(&mut self, is_object: bool, tokens: &mut impl Tokens) -> State {
        if self.depth >= MAX_DEPTH {
            return State::Malformed;
        }
        let (word, bit) = position(self.depth);
        if let Some(word) = self.objects.get_mut(word) {
            *word = if is_object { *word | bit } else { *word & !bit };
        }
        self.depth = self.depth.saturating_add(1);
        tokens.open(is_object);
        if is_object {
            State::FirstKey
        } else {
            State::FirstElement
        }
    }

    #[inline(never)]
    fn close(&mut self, is_object: bool, tokens: &mut impl Tokens) -> State {
        self.depth = self.depth.saturating_sub(1);
        tokens.close(is_object);
        self.after_value()
    }

    fn after_value(&self) -> State {
        if self.depth == 0 {
            State::End
        } else {
            State::AfterValue
        }
    }

    fn is_in_object(&self) -> bool {
        let Some(innermost) = self.depth.checked_sub(1) else {
            return false;
        };
        let (word, bit) = position(innermost);
        self.objects.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Reads a string up to its closing quote, an escape, or the end of the piece.
    fn string<'a>(&mut self, bytes: &'a [u8], tokens: &mut impl Tokens) -> &'a [u8] {
        let bytes = if self.character_bytes == 0 {
            bytes
        } else if let Some(rest) = self.rest_of_character(bytes, tokens) {
            rest
        } else {
            self.state = State::Malformed;
            return &[];
        };
        let end = search::string_end(bytes).unwrap_or(bytes.len());
        let (run, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
        if !self.is_text(run, rest.is_empty()) {
            self.state = State::Malformed;
            return &[];
        }
        tokens.string(run, self.is_key);
        match rest.split_first() {
            None => rest,
            Some((b'"', tail)) => {
                tokens.end_string(self.is_key);
                self.state = if self.is_key {
                    State::Colon
                } else {
                    self.after_value()
                };
                tail
            }
            Some((b'\\', tail)) => {
                self.state = State::Escape;
                tail
            }
            // A control character.
            Some(_) => {
                self.state = State::Malformed;
                rest
            }
        }
    }

    /// Returns whether a part of a string is UTF-8; at the end of a piece it may end within a
    /// character.
    fn is_text(&mut self, run: &[u8], at_end: bool) -> bool {
        let Err(error) = str::from_utf8(run) else {
            return true;
        };
        let cut = run.get(error.valid_up_to()..).unwrap_or_default();
        let kept = self.character.get_mut(..cut.len());
        match (at_end && error.error_len().is_none(), kept) {
            (true, Some(kept)) => {
                kept.copy_from_slice(cut);
                self.character_bytes = cut.len();
                true
            }
            _ => false,
        }
    }

    /// Reads the rest of a character that the last piece cut in two; `None` if it is none.
    #[cold]
    fn rest_of_character<'a>(
        &mut self,
        bytes: &'a [u8],
        tokens: &mut impl Tokens,
    ) -> Option<&'a [u8]> {
        let mut rest = bytes;
        while self.character_bytes > 0
            && let Some((&byte, tail)) = rest.split_first()
        {
            *self.character.get_mut(self.character_bytes)? = byte;
            let length = self.character_bytes.saturating_add(1);
            self.character_bytes = match str::from_utf8(self.character.get(..length)?) {
                Ok(_) => 0,
                Err(error) if error.error_len().is_none() => length,
                Err(_) => return None,
            };
            tokens.string(&[byte], self.is_key);
            rest = tail;
        }
        Some(rest)
    }

    fn number<'a>(
        &mut self,
        number: Number,
        bytes: &'a [u8],
        tokens: &mut impl Tokens,
    ) -> &'a [u8] {
        let mut number = number;
        let mut rest = bytes;
        let mut length = 0_usize;
        while let Some((&byte, tail)) = rest.split_first()
            && let Some(next) = number.next(byte)
        {
            number = next;
            length = length.saturating_add(1);
            rest = tail;
        }
        tokens.literal(bytes.get(..length).unwrap_or_default());
        self.state = if rest.is_empty() {
            State::Number(number)
        } else if number.is_complete() {
            tokens.end_literal();
            self.after_value()
        } else {
            State::Malformed
        };
        rest
    }
}

/// What a byte means for one of the [`WORDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WordState {
    /// The word continues at this position.
    Continues(u8),
    /// It is the last byte.
    Ends,
    /// The word has another byte there.
    Breaks,
}

fn word_state(at: u8, byte: u8) -> WordState {
    if WORDS.get(usize::from(at)) != Some(&byte) {
        return WordState::Breaks;
    }
    let at = at.saturating_add(1);
    match WORDS.get(usize::from(at)) {
        None | Some(0) => WordState::Ends,
        Some(_) => WordState::Continues(at),
    }
}

/// Returns the word and the bit for an open object or array.
fn position(depth: u16) -> (usize, u64) {
    (
        usize::from(depth / 64),
        1_u64.wrapping_shl(u32::from(depth % 64)),
    )
}

// === impl Number ===

impl Number {
    /// Returns the part to which the next byte belongs; `None` if it does not belong to the number.
    const fn next(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Minus, b'0') => Self::Zero,
            (Self::Minus, b'1'..=b'9') | (Self::Integer, b'0'..=b'9') => Self::Integer,
            (Self::Zero | Self::Integer, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Self::Exponent,
            (Self::Exponent, b'+' | b'-') => Self::Sign,
            (Self::Exponent | Self::Sign | Self::Power, b'0'..=b'9') => Self::Power,
            _ => return None,
        })
    }

    const fn is_complete(self) -> bool {
        matches!(
            self,
            Self::Zero | Self::Integer | Self::Fraction | Self::Power
        )
    }
}
