//! Finds the few values that matter in JSON, as its bytes pass.
//!
//! The scanner is a state machine over bytes, fed in pieces of any size. It knows where it is only as
//! long as it is on one of the [`Paths`] it was given; everything beside them is skipped, strings at the
//! speed of `memchr` and nesting by counting. It keeps one key or scalar (of at most [`LONGEST`] bytes)
//! and one level for each object on a path, so its memory is the same for every document.
//!
//! It does not validate: what is no JSON gives some result too, and never an error. For JSON, what it
//! reports is what a parser would find, the last of duplicate keys last.

use std::{borrow::Cow, sync::Arc};

use super::paths::{Node, Paths, Wanted};

mod text;
mod words;

#[cfg(test)]
mod tests;

pub use text::LONGEST;
use text::Text;

/// How deep a path can go; what lies deeper is skipped.
const DEEPEST: usize = 12;

/// Told what the scanner finds, in the order of the bytes.
pub trait Visitor<F> {
    /// A document begins: an object at the root, or in an array that is the root.
    fn begin(&mut self);
    /// An object or array begins that is the value of `field`.
    fn open(&mut self, field: F);
    /// It ends; `empty` if there was nothing in it.
    fn close(&mut self, field: F, empty: bool);
    /// A scalar is the value of `field`. What is longer than [`LONGEST`] is cut off there.
    fn scalar(&mut self, field: F, value: &Scalar<'_>);
    /// Whether the bytes of the value of `field` are wanted as they pass, if it is an object, array or string.
    fn wants_bytes(&self, field: F) -> bool;
    /// Bytes of such a value; of a string what is between the quotes, its escapes as they are.
    fn bytes(&mut self, bytes: &[u8]);
    /// Generated text passed: `bytes` of a string whose key is one under which APIs put it.
    fn content(&mut self, key: ContentKey, bytes: u64);
    /// The document ends; if it is not `whole`, because the input does.
    fn end(&mut self, whole: bool);
}

/// A value that is no object or array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar<'a> {
    /// A string, its escapes decoded.
    Text(Cow<'a, [u8]>),
    /// A number, `true`, `false` or `null`, as written.
    Literal(&'a [u8]),
}

/// Under which key generated text was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentKey {
    /// `delta`, of an event that brings the next piece of text as a string.
    Delta,
    /// The arguments of a tool call, which may be an object.
    Arguments,
    /// Any other.
    Other,
}

impl ContentKey {
    fn of(key: &[u8]) -> Option<Self> {
        Some(match key {
            b"delta" => Self::Delta,
            b"arguments" | b"args" | b"input" | b"parameters" => Self::Arguments,
            b"content" | b"text" | b"reasoning_content" | b"reasoning" | b"thinking"
            | b"partial_json" | b"refusal" | b"response" | b"completion" | b"generation"
            | b"outputText" | b"generated_text" | b"transcript" | b"tool_plan" => Self::Other,
            _ => return None,
        })
    }
}

/// What the bytes at hand are part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between tokens, or in a scalar that nobody wants.
    Between,
    /// In a string.
    String,
    /// After a backslash in a string.
    Escape,
    /// In a number or literal that is wanted.
    Literal,
}

/// What is done with the string at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Kept: it may turn out to be a key.
    Key,
    /// Kept: it is the value of a field.
    Value,
    /// Kept and passed on: likewise.
    Recorded,
    /// Skipped.
    Other,
}

/// An object or array on a path.
#[derive(Clone, Copy, Debug)]
struct Level<F> {
    /// What is wanted in it, if it is an object.
    node: Node,
    /// What is wanted in its objects, if it is an array.
    elements: Option<Node>,
    /// The field that it is the value of.
    field: Option<F>,
    empty: bool,
    document: bool,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Scanner<F> {
    paths: Arc<Paths<F>>,
    state: State,
    role: Role,
    levels: [Option<Level<F>>; DEEPEST],
    /// How many of `levels` are in use.
    depth: usize,
    /// How many objects and arrays are open below the last level.
    skipped: u64,
    /// Whether a colon came last: then the next string is a value.
    after_colon: bool,
    /// What is wanted of the value that comes next.
    wanted: Wanted<F>,
    /// The same, if it is generated text.
    content: Option<ContentKey>,
    /// Below which nesting everything is generated: that of the last level, or some below it.
    generated_below: Option<u64>,
    /// The level whose bytes are wanted.
    recorded: Option<usize>,
    text: Text,
}

impl<F: Copy + PartialEq> Scanner<F> {
    /// A scanner before the first byte.
    #[must_use]
    pub fn new(paths: Arc<Paths<F>>) -> Self {
        Self {
            paths,
            state: State::Between,
            role: Role::Other,
            levels: [None; DEEPEST],
            depth: 0,
            skipped: 0,
            after_colon: false,
            wanted: Wanted::default(),
            content: None,
            generated_below: None,
            recorded: None,
            text: Text::new(),
        }
    }

    /// Whether the scanner is outside any object or array.
    #[must_use]
    pub fn is_at_root(&self) -> bool {
        self.depth == 0 && self.skipped == 0 && self.state == State::Between
    }

    /// Takes the next bytes.
    pub fn push(&mut self, piece: &[u8], visitor: &mut impl Visitor<F>) {
        let mut rest = piece;
        // Where in `piece` the part begins that is recorded.
        let mut from = 0_usize;
        while let Some((&byte, tail)) = rest.split_first() {
            match self.state {
                State::Between => {
                    let recorded = self.recorded.is_some();
                    rest = self.between(byte, tail, visitor);
                    match (recorded, self.recorded.is_some()) {
                        (false, true) => {
                            from = piece.len().saturating_sub(tail.len()).saturating_sub(1);
                        }
                        (true, false) => {
                            let to = piece.len().saturating_sub(tail.len());
                            visitor.bytes(piece.get(from..to).unwrap_or_default());
                            self.closed(visitor);
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
        if self.recorded.is_some() {
            visitor.bytes(piece.get(from..).unwrap_or_default());
        }
    }

    /// Ends the input: a document that is open breaks off here.
    pub fn finish(&mut self, visitor: &mut impl Visitor<F>) {
        let in_document = self
            .levels
            .iter()
            .take(self.depth)
            .flatten()
            .any(|level| level.document);
        if in_document {
            visitor.end(false);
        }
        self.state = State::Between;
        self.depth = 0;
        self.skipped = 0;
        self.after_colon = false;
        self.recorded = None;
        self.generated_below = None;
        self.forget();
    }

    /// Forgets what was wanted of the value that comes next.
    fn forget(&mut self) {
        self.wanted = Wanted::default();
        self.content = None;
    }

    fn top(&mut self) -> Option<&mut Level<F>> {
        if self.skipped > 0 {
            return None;
        }
        self.levels.get_mut(self.depth.checked_sub(1)?)?.as_mut()
    }

    fn between<'a>(&mut self, byte: u8, tail: &'a [u8], visitor: &mut impl Visitor<F>) -> &'a [u8] {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'"' => self.open_string(visitor),
            b':' => self.after_colon = true,
            b',' => {
                self.after_colon = false;
                self.forget();
            }
            b'{' => self.open(true, visitor),
            b'[' => self.open(false, visitor),
            b'}' | b']' => self.close(visitor),
            _ => {
                let wanted = self.after_colon && self.wanted.is_scalar();
                if let Some(top) = self.top() {
                    top.empty = false;
                    if wanted {
                        self.text.clear();
                        self.text.push(&[byte]);
                        self.state = State::Literal;
                        return tail;
                    }
                    if top.node != Node::NOTHING {
                        return skip_literal(tail);
                    }
                }
                // Nothing is wanted here: skips literals and what is between them, such as the numbers of an
                // array.
                self.after_colon = false;
                let end = words::structure(tail);
                return end.and_then(|end| tail.get(end..)).unwrap_or_default();
            }
        }
        tail
    }

    fn open_string(&mut self, visitor: &impl Visitor<F>) {
        if let Some(top) = self.top() {
            top.empty = false;
        }
        self.state = State::String;
        self.role = if !self.after_colon {
            Role::Key
        } else if self.wanted.is_scalar() {
            match self.wanted.field {
                Some(field) if visitor.wants_bytes(field) => Role::Recorded,
                _ => Role::Value,
            }
        } else {
            Role::Other
        };
        self.text.clear();
    }

    fn string<'a>(&mut self, bytes: &'a [u8], visitor: &mut impl Visitor<F>) -> &'a [u8] {
        let mut bytes = bytes;
        loop {
            let end = words::quote_or_backslash(bytes);
            let (run, rest) = bytes
                .split_at_checked(end.unwrap_or(bytes.len()))
                .unwrap_or((bytes, &[]));
            if let Some(key) = self.counted() {
                visitor.content(key, run.len() as u64);
            }
            if let Role::Recorded = self.role {
                visitor.bytes(run);
            }
            if let [b'"', tail @ ..] = rest {
                self.end_string(run, visitor);
                return tail;
            }
            if self.role != Role::Other {
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

    /// Ends the string at hand, of which `run` is all or the end.
    fn end_string(&mut self, run: &[u8], visitor: &mut impl Visitor<F>) {
        self.state = State::Between;
        let text = if self.text.is_empty() {
            // It need not be kept first.
            Cow::Borrowed(run.get(..LONGEST).unwrap_or(run))
        } else {
            self.text.push(run);
            self.text.decoded()
        };
        match self.role {
            Role::Key => {
                let node = match self.depth.checked_sub(1) {
                    Some(at) if self.skipped == 0 => self.levels.get(at).copied().flatten(),
                    _ => None,
                };
                let wanted = node.map(|level| self.paths.find(level.node, &text));
                self.content = ContentKey::of(&text);
                self.wanted = wanted.unwrap_or_default();
            }
            Role::Value | Role::Recorded => {
                self.wanted.tell(&Scalar::Text(text), visitor);
                self.forget();
            }
            Role::Other => self.forget(),
        }
    }

    /// Whether the string at hand is generated text, and under which key.
    fn counted(&self) -> Option<ContentKey> {
        if self.generated_below.is_some() {
            Some(ContentKey::Other)
        } else if self.after_colon {
            self.content
        } else {
            None
        }
    }

    /// Takes the byte after a backslash.
    fn escape(&mut self, byte: u8, visitor: &mut impl Visitor<F>) {
        if self.role != Role::Other {
            self.text.push_escape(byte);
        }
        if let Role::Recorded = self.role {
            visitor.bytes(&[b'\\', byte]);
        }
        // The four digits that follow a `u` count as text: about the character's size.
        if byte != b'u'
            && let Some(key) = self.counted()
        {
            visitor.content(key, 1);
        }
    }

    fn literal<'a>(&mut self, bytes: &'a [u8], visitor: &mut impl Visitor<F>) -> &'a [u8] {
        let rest = skip_literal(bytes);
        let run = bytes
            .get(..bytes.len().saturating_sub(rest.len()))
            .unwrap_or_default();
        self.text.push(run);
        if !rest.is_empty() {
            self.state = State::Between;
            self.wanted.tell(&Scalar::Literal(self.text.raw()), visitor);
            self.forget();
        }
        rest
    }

    fn open(&mut self, object: bool, visitor: &mut impl Visitor<F>) {
        let wanted = self.wanted;
        let generated = object && self.after_colon && self.content == Some(ContentKey::Arguments);
        self.forget();
        self.after_colon = false;
        if self.skipped == 0 {
            let level = self.level(object, wanted);
            if let Some(top) = self.top() {
                top.empty = false;
            }
            if let Some(level) = level
                && let Some(slot) = self.levels.get_mut(self.depth)
            {
                *slot = Some(level);
                if level.document {
                    visitor.begin();
                }
                if let Some(field) = level.field {
                    visitor.open(field);
                    if self.recorded.is_none() && visitor.wants_bytes(field) {
                        self.recorded = Some(self.depth);
                    }
                }
                self.depth = self.depth.saturating_add(1);
                return;
            }
        }
        self.skipped = self.skipped.saturating_add(1);
        if generated && self.generated_below.is_none() {
            self.generated_below = Some(self.skipped);
        }
    }

    /// The level that an object or array opens, if it lies on a path.
    fn level(&mut self, object: bool, wanted: Wanted<F>) -> Option<Level<F>> {
        let level = |node, elements, field, document| Level {
            node,
            elements,
            field,
            empty: true,
            document,
        };
        let Some(top) = self.top() else {
            // At the root.
            return Some(if object {
                level(Node::ROOT, None, None, true)
            } else {
                level(Node::NOTHING, Some(Node::ROOT), None, false)
            });
        };
        if let Some(elements) = top.elements {
            let document = elements == Node::ROOT;
            return object.then_some(level(elements, None, None, document));
        }
        if wanted == Wanted::default() {
            return None;
        }
        Some(if object {
            let node = wanted.object.unwrap_or(Node::NOTHING);
            level(node, None, wanted.field, false)
        } else {
            level(Node::NOTHING, wanted.elements, wanted.field, false)
        })
    }

    fn close(&mut self, visitor: &mut impl Visitor<F>) {
        self.after_colon = false;
        self.forget();
        if self.skipped > 0 {
            if self.generated_below == Some(self.skipped) {
                self.generated_below = None;
            }
            self.skipped = self.skipped.saturating_sub(1);
            return;
        }
        let Some(at) = self.depth.checked_sub(1) else {
            return;
        };
        if self.recorded == Some(at) {
            // `push` goes on once it has passed on the bytes.
            self.recorded = None;
        } else {
            self.closed(visitor);
        }
    }

    /// Leaves the last level.
    fn closed(&mut self, visitor: &mut impl Visitor<F>) {
        let Some(at) = self.depth.checked_sub(1) else {
            return;
        };
        self.depth = at;
        let Some(level) = self.levels.get_mut(at).and_then(Option::take) else {
            return;
        };
        if let Some(field) = level.field {
            visitor.close(field, level.empty);
        }
        if level.document {
            visitor.end(true);
        }
    }
}

impl<F: Copy> Wanted<F> {
    /// Whether it has a meaning as a scalar.
    fn is_scalar(&self) -> bool {
        self.field.is_some() || self.also.is_some()
    }

    fn tell(&self, value: &Scalar<'_>, visitor: &mut impl Visitor<F>) {
        for field in [self.field, self.also].into_iter().flatten() {
            visitor.scalar(field, value);
        }
    }
}

/// What follows the number or literal that `bytes` begins with.
fn skip_literal(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| {
        matches!(
            byte,
            b'"' | b',' | b':' | b'{' | b'}' | b'[' | b']' | b' ' | b'\t' | b'\r' | b'\n'
        )
    });
    end.and_then(|end| bytes.get(end..)).unwrap_or_default()
}
