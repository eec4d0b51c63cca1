//! The state machine that reads JSON byte by byte, in pieces of any size.
//!
//! The scanner tracks its position only while it is on one of the [`Paths`]. It skips everything
//! else: strings at the speed of `memchr`, nesting by counting. It keeps one key or scalar (at most
//! [`MAX_SCALAR_BYTES`](super::MAX_SCALAR_BYTES)) and one level for each object on a path, so its
//! memory is the same for every document.
//!
//! It does not validate: input that is not JSON yields some result too, never an error. For JSON, it
//! reports what a parser would find, with the last of duplicate keys reported last.

use std::{borrow::Cow, sync::Arc};

use super::nesting::Nesting;
use super::paths::{Match, Node, Paths};
use super::search;
use super::strings::StringBytes;
use super::text::{MAX_SCALAR_BYTES, Text};
use super::visitor::{GeneratedKey, Scalar, Visitor};

#[cfg(test)]
mod tests;

/// A scanner for the values on a set of paths.
#[derive(Debug)]
pub struct Scanner<F> {
    paths: Arc<Paths<F>>,
    /// Whether elements of arrays have to be counted.
    has_indexes: bool,
    state: State,
    string_use: StringUse,
    nesting: Nesting<F>,
    /// Whether a colon came last, so that the next string is a value.
    is_after_colon: bool,
    /// What the paths say about the next value.
    next: Match<F>,
    /// The kind of its key, if it is generated text.
    next_generated: Option<GeneratedKey>,
    /// The number of skipped levels below which everything is generated text.
    generated_below: Option<u64>,
    /// The index of the level whose bytes the visitor receives.
    recorded_level: Option<usize>,
    strings: StringBytes,
    text: Text,
}

/// What the next byte is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between tokens, or in a number or literal that is skipped.
    Between,
    /// In a string.
    String,
    /// After a backslash in a string.
    Escape,
    /// In a number or literal that is the value of a field.
    Literal,
}

/// What the string that is being read is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StringUse {
    /// Kept, because it may be a key.
    Key,
    /// Kept, because it is the value of a field.
    Value,
    /// Kept for the same reason, and its bytes go to the visitor.
    Recorded,
    /// Skipped.
    None,
}

// === impl Scanner ===

impl<F: Copy + PartialEq> Scanner<F> {
    /// Returns a scanner before its first byte.
    #[must_use]
    pub fn new(paths: Arc<Paths<F>>) -> Self {
        Self {
            has_indexes: paths.has_indexes(),
            paths,
            state: State::Between,
            string_use: StringUse::None,
            nesting: Nesting::new(),
            is_after_colon: false,
            next: Match::default(),
            next_generated: None,
            generated_below: None,
            recorded_level: None,
            strings: StringBytes::default(),
            text: Text::new(),
        }
    }

    /// Returns a scanner for the same paths before its first byte.
    pub(crate) fn another(&self) -> Self {
        Self::new(Arc::clone(&self.paths))
    }

    /// Returns whether the scanner is outside all objects, arrays and strings.
    #[must_use]
    pub fn is_at_root(&self) -> bool {
        self.nesting.is_at_root() && self.state == State::Between
    }

    /// Reads the next bytes.
    pub fn push(&mut self, piece: &[u8], visitor: &mut impl Visitor<F>) {
        let mut rest = piece;
        // The index in `piece` at which the recorded part starts.
        let mut recorded_from = 0_usize;
        while let Some((&byte, tail)) = rest.split_first() {
            match self.state {
                State::Between => {
                    let was_recorded = self.recorded_level.is_some();
                    rest = self.between(byte, tail, visitor);
                    match (was_recorded, self.recorded_level.is_some()) {
                        (false, true) => {
                            recorded_from =
                                piece.len().saturating_sub(tail.len()).saturating_sub(1);
                        }
                        (true, false) => {
                            let end = piece.len().saturating_sub(tail.len());
                            visitor.bytes(piece.get(recorded_from..end).unwrap_or_default());
                            self.close_level(visitor);
                        }
                        _ => {}
                    }
                }
                State::String => rest = self.string(rest, visitor),
                State::Escape => {
                    self.escape(byte, visitor);
                    self.state = State::String;
                    rest = tail;
                }
                State::Literal => rest = self.literal(rest, visitor),
            }
        }
        if self.recorded_level.is_some() {
            visitor.bytes(piece.get(recorded_from..).unwrap_or_default());
        }
    }

    /// Ends the input: a document that is still open ends here, incomplete.
    pub fn finish(&mut self, visitor: &mut impl Visitor<F>) {
        if self.nesting.is_in_document() {
            self.end_document(false, visitor);
        }
        self.reset();
    }

    /// Forgets the document that is open: the next byte begins another.
    pub(crate) fn reset(&mut self) {
        self.strings.take();
        self.state = State::Between;
        self.nesting.reset();
        self.is_after_colon = false;
        self.recorded_level = None;
        self.generated_below = None;
        self.forget_next();
    }

    /// Forgets what is known about the next value.
    fn forget_next(&mut self) {
        self.next = Match::default();
        self.next_generated = None;
    }

    /// Reads the first byte of a token, and the rest of a token that is skipped.
    fn between<'a>(&mut self, byte: u8, tail: &'a [u8], visitor: &mut impl Visitor<F>) -> &'a [u8] {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'"' => self.open_string(visitor),
            b':' => {
                self.is_after_colon = true;
                self.strings.forget_last();
            }
            b',' => {
                self.is_after_colon = false;
                self.forget_next();
                if self.has_indexes {
                    self.begin_element();
                }
            }
            b'{' => self.open(true, visitor),
            b'[' => self.open(false, visitor),
            b'}' | b']' => self.close(visitor),
            _ => {
                let is_value = self.is_after_colon && self.next.is_scalar();
                if let Some(innermost) = self.nesting.innermost() {
                    innermost.is_empty = false;
                    if is_value {
                        self.text.clear();
                        self.text.push(&[byte]);
                        self.state = State::Literal;
                        return tail;
                    }
                    if innermost.node != Node::NONE || innermost.items.is_some() {
                        return skip_literal(tail);
                    }
                }
                // No path continues here: skips literals and all that is between them, such as the
                // numbers of an array.
                self.is_after_colon = false;
                let end = search::structure(tail);
                return end.and_then(|end| tail.get(end..)).unwrap_or_default();
            }
        }
        tail
    }

    fn open_string(&mut self, visitor: &impl Visitor<F>) {
        if let Some(innermost) = self.nesting.innermost() {
            innermost.is_empty = false;
        }
        self.state = State::String;
        self.strings.begin();
        self.string_use = if !self.is_after_colon {
            StringUse::Key
        } else if self.next.is_scalar() {
            match self.next.field {
                Some(field) if visitor.wants_bytes(field) => StringUse::Recorded,
                _ => StringUse::Value,
            }
        } else {
            StringUse::None
        };
        self.text.clear();
    }

    /// Reads the string up to its closing quote, or as far as it has come.
    fn string<'a>(&mut self, bytes: &'a [u8], visitor: &mut impl Visitor<F>) -> &'a [u8] {
        let mut bytes = bytes;
        loop {
            let end = search::quote_or_backslash(bytes);
            let (run, rest) = bytes
                .split_at_checked(end.unwrap_or(bytes.len()))
                .unwrap_or((bytes, &[]));
            self.strings.add(run);
            if let Some(key) = self.generated_key() {
                visitor.generated(key, run.len() as u64);
            }
            if let StringUse::Recorded = self.string_use {
                visitor.bytes(run);
            }
            if let [b'"', tail @ ..] = rest {
                self.close_string(run, visitor);
                return tail;
            }
            if self.string_use != StringUse::None {
                self.text.push(run);
            }
            let [b'\\', tail @ ..] = rest else {
                return rest;
            };
            let Some((&escaped, tail)) = tail.split_first() else {
                self.state = State::Escape;
                return tail;
            };
            self.escape(escaped, visitor);
            bytes = tail;
        }
    }

    /// Ends the string, of which `run` is the last part or all of it.
    fn close_string(&mut self, run: &[u8], visitor: &mut impl Visitor<F>) {
        self.state = State::Between;
        let text = if self.text.is_empty() {
            // All of it is in `run`, so there is no need to copy it.
            Cow::Borrowed(run.get(..MAX_SCALAR_BYTES).unwrap_or(run))
        } else {
            self.text.push(run);
            self.text.decoded()
        };
        match self.string_use {
            StringUse::Key => {
                self.next_generated = GeneratedKey::of(&text);
                self.next = self.nesting.find(&self.paths, &text);
            }
            StringUse::Value | StringUse::Recorded => {
                self.next.report(&Scalar::Text(text), visitor);
                self.forget_next();
            }
            StringUse::None => self.forget_next(),
        }
    }

    /// Returns the kind of key of the string that is being read, if that is generated text.
    fn generated_key(&self) -> Option<GeneratedKey> {
        if self.generated_below.is_some() {
            Some(GeneratedKey::Other)
        } else if self.is_after_colon {
            self.next_generated
        } else {
            None
        }
    }

    /// Reads the byte after a backslash.
    fn escape(&mut self, byte: u8, visitor: &mut impl Visitor<F>) {
        if self.string_use != StringUse::None {
            self.text.push_escape(byte);
        }
        if let StringUse::Recorded = self.string_use {
            visitor.bytes(&[b'\\', byte]);
        }
        // The four digits after a `u` are counted as text: about the size of the character.
        if byte != b'u'
            && let Some(key) = self.generated_key()
        {
            visitor.generated(key, 1);
        }
    }

    /// Reads the number or literal up to its end, or as far as it has come.
    fn literal<'a>(&mut self, bytes: &'a [u8], visitor: &mut impl Visitor<F>) -> &'a [u8] {
        let rest = skip_literal(bytes);
        let run = bytes
            .get(..bytes.len().saturating_sub(rest.len()))
            .unwrap_or_default();
        self.text.push(run);
        if !rest.is_empty() {
            self.state = State::Between;
            self.next.report(&Scalar::Literal(self.text.raw()), visitor);
            self.forget_next();
        }
        rest
    }

    /// Opens an object, or else an array.
    fn open(&mut self, is_object: bool, visitor: &mut impl Visitor<F>) {
        let found = self.next;
        let is_generated = is_object
            && self.is_after_colon
            && self.next_generated == Some(GeneratedKey::Arguments);
        self.forget_next();
        self.is_after_colon = false;
        if self.nesting.skipped() == 0 {
            let level = self.nesting.level(is_object, found, &self.paths);
            if let Some(innermost) = self.nesting.innermost() {
                innermost.is_empty = false;
            }
            if let Some(level) = level
                && let Some(index) = self.nesting.open(level)
            {
                if level.is_document {
                    match index {
                        0 => visitor.begin_document(),
                        _ => visitor.begin_element(),
                    }
                }
                if let Some(field) = level.field {
                    visitor.open(field);
                    if self.recorded_level.is_none() && visitor.wants_bytes(field) {
                        self.recorded_level = Some(index);
                    }
                }
                if self.has_indexes {
                    self.begin_element();
                }
                return;
            }
        }
        let skipped = self.nesting.open_skipped();
        if is_generated && self.generated_below.is_none() {
            self.generated_below = Some(skipped);
        }
    }

    /// Finds what the paths say about the next element of the innermost array, if they distinguish
    /// its elements: it is then treated as the value of a key.
    #[cold]
    fn begin_element(&mut self) {
        if let Some(found) = self.nesting.next_element(&self.paths) {
            self.next = found;
            self.is_after_colon = true;
        }
    }

    fn close(&mut self, visitor: &mut impl Visitor<F>) {
        self.is_after_colon = false;
        self.forget_next();
        let skipped = self.nesting.skipped();
        if skipped > 0 {
            if self.generated_below == Some(skipped) {
                self.generated_below = None;
            }
            self.nesting.close_skipped();
            return;
        }
        let Some(index) = self.nesting.innermost_index() else {
            return;
        };
        if self.recorded_level == Some(index) {
            // `push` closes the level once the visitor has its bytes.
            self.recorded_level = None;
        } else {
            self.close_level(visitor);
        }
    }

    fn close_level(&mut self, visitor: &mut impl Visitor<F>) {
        let Some(level) = self.nesting.close() else {
            return;
        };
        if let Some(field) = level.field {
            visitor.close(field, level.is_empty);
        }
        if level.is_document {
            self.end_document(true, visitor);
        }
    }

    fn end_document(&mut self, complete: bool, visitor: &mut impl Visitor<F>) {
        visitor.strings(self.strings.take());
        visitor.end_document(complete);
    }
}

// === impl Match ===

impl<F: Copy> Match<F> {
    /// Returns whether a scalar there is the value of a field.
    fn is_scalar(&self) -> bool {
        self.field.is_some() || self.pointer_field.is_some()
    }

    fn report(&self, value: &Scalar<'_>, visitor: &mut impl Visitor<F>) {
        for field in [self.field, self.pointer_field].into_iter().flatten() {
            visitor.scalar(field, value);
        }
    }
}

/// Returns what follows the number or literal at the start of `bytes`.
fn skip_literal(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| {
        matches!(
            byte,
            b'"' | b',' | b':' | b'{' | b'}' | b'[' | b']' | b' ' | b'\t' | b'\r' | b'\n'
        )
    });
    end.and_then(|end| bytes.get(end..)).unwrap_or_default()
}
