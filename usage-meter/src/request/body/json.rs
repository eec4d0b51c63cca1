//! The reader of a JSON body: finds the values at the pointers, the parameters, and what is text.

use std::sync::Arc;

use super::super::parameters::{Field, Parameters};
use super::content::{Beginning, Kind};
use super::grammar::{Grammar, Syntax, Tokens};
use super::pointers::{NodeIndex, Pointers};
use super::text::unescaped;
use crate::bounded_text::{MAX_MODEL_BYTES, PassingText, clear};

/// The most bytes of the value at a pointer, without white space; a larger one counts as missing.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;

/// The most bytes of a body that is read as a whole, at the pointer "".
pub const MAX_WHOLE_BYTES: usize = 256 * 1024;

/// The most bytes of all values of a body together.
const MAX_KEPT_BYTES: usize = 512 * 1024;

/// The most bytes of a key as it is written; a longer one is not searched for.
const MAX_KEY_BYTES: usize = 1024;

/// A reader of JSON that passes in pieces.
#[derive(Debug)]
pub(super) struct JsonReader {
    grammar: Grammar,
    finder: Finder,
}

/// What is found in the document.
#[derive(Debug)]
struct Finder {
    pointers: Arc<Pointers>,
    parameters: Parameters,
    /// The values at the pointers, as JSON.
    values: Vec<Option<Vec<u8>>>,
    /// The values that are being read, outer ones first.
    open_values: Vec<OpenValue>,
    /// The bytes of all values.
    kept: usize,
    /// The open objects and arrays on the way to a place that matters.
    levels: Vec<Level>,
    depth: u16,
    /// The place of the next value of the innermost object.
    next: Option<NodeIndex>,
    /// What its key says of it.
    kind: Kind,
    /// What the key of an array says of its elements, and the depth in it.
    elements: (Kind, u16),
    /// The depth above which all strings are text.
    text_above: Option<u16>,
    /// The depth above which all strings belong to one part that is not text.
    part_above: Option<u16>,
    string: StringUse,
    beginning: Beginning,
    key: Vec<u8>,
    /// The parameter that is being read, and its text.
    field: Option<Field>,
    field_text: PassingText,
}

/// An open object or array.
#[derive(Debug)]
struct Level {
    node: NodeIndex,
    depth: u16,
    /// The number of elements that have begun, if it is an array.
    elements: Option<u32>,
}

/// A value at a pointer that is being read.
#[derive(Debug)]
struct OpenValue {
    pointer: usize,
    /// The depth around it.
    depth: u16,
    /// Its bytes; `None` if there were too many.
    bytes: Option<Vec<u8>>,
}

/// What the string that is being read counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StringUse {
    Text,
    Part,
    /// Its beginning decides.
    Pending(Kind),
    Other,
}

// === impl JsonReader ===

impl JsonReader {
    pub(super) fn new(pointers: Arc<Pointers>) -> Self {
        let mut values = Vec::new();
        values.resize_with(pointers.texts().len(), || None);
        Self {
            grammar: Grammar::new(),
            finder: Finder {
                pointers,
                parameters: Parameters::default(),
                values,
                open_values: Vec::new(),
                kept: 0,
                levels: Vec::with_capacity(4),
                depth: 0,
                next: None,
                kind: Kind::Unknown,
                elements: (Kind::Unknown, 0),
                text_above: None,
                part_above: None,
                string: StringUse::Other,
                beginning: Beginning::new(),
                key: Vec::with_capacity(32),
                field: None,
                field_text: PassingText::default(),
            },
        }
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        self.grammar.push(piece, &mut self.finder);
    }

    pub(super) fn finish(&mut self) {
        self.grammar.finish(&mut self.finder);
    }

    pub(super) const fn syntax(&self) -> Syntax {
        self.grammar.syntax()
    }

    pub(super) const fn parameters(&self) -> &Parameters {
        &self.finder.parameters
    }

    pub(super) fn value(&self, pointer: usize) -> Option<&[u8]> {
        self.finder.values.get(pointer)?.as_deref()
    }
}

// === impl Finder ===

impl Finder {
    /// Begins a value, and returns its place and what its key says of it.
    #[inline(never)]
    fn begin_value(&mut self) -> (Option<NodeIndex>, Kind) {
        let mut kind = std::mem::take(&mut self.kind);
        let mut node = self.next.take();
        if self.depth == 0 {
            node = Some(NodeIndex::ROOT);
        } else if let Some(level) = self.levels.last_mut()
            && level.depth == self.depth
            && let Some(elements) = &mut level.elements
        {
            node = self.pointers.element(level.node, *elements);
            *elements = elements.saturating_add(1);
        }
        if self.elements.1 == self.depth && kind == Kind::Unknown {
            kind = self.elements.0;
        }
        if let Some(node) = node.filter(|_| !self.values.is_empty()) {
            // The last of several members of one name counts, with all that is in it.
            let Self { values, kept, .. } = self;
            self.pointers.each_below(node, &mut |pointer| {
                if let Some(value) = values.get_mut(pointer).and_then(Option::take) {
                    *kept = kept.saturating_sub(value.len());
                }
            });
            if let Some(pointer) = self.pointers.pointer(node) {
                self.open_values.push(OpenValue {
                    pointer,
                    depth: self.depth,
                    bytes: Some(Vec::new()),
                });
            }
        }
        (node, kind)
    }

    /// Ends a value, whose end is at the current depth.
    #[inline(never)]
    fn end_value(&mut self) {
        if self
            .open_values
            .last()
            .is_some_and(|open| open.depth == self.depth)
            && let Some(open) = self.open_values.pop()
            && let Some(value) = self.values.get_mut(open.pointer)
        {
            *value = open.bytes;
        }
    }

    /// Adds bytes to the values that are being read.
    fn keep(&mut self, bytes: &[u8]) {
        if !self.open_values.is_empty() {
            self.keep_in_values(bytes);
        }
    }

    #[cold]
    fn keep_in_values(&mut self, bytes: &[u8]) {
        for open in &mut self.open_values {
            let Some(value) = &mut open.bytes else {
                continue;
            };
            let is_whole = self
                .pointers
                .texts()
                .get(open.pointer)
                .is_some_and(String::is_empty);
            let max = if is_whole {
                MAX_WHOLE_BYTES
            } else {
                MAX_VALUE_BYTES
            };
            let length = value.len().saturating_add(bytes.len());
            let kept = self.kept.saturating_add(bytes.len());
            if length > max || kept > MAX_KEPT_BYTES {
                self.kept = self.kept.saturating_sub(value.len());
                open.bytes = None;
            } else {
                value.extend_from_slice(bytes);
                self.kept = kept;
            }
        }
    }

    #[inline(never)]
    fn keep_key(&mut self, bytes: &[u8]) {
        let free = MAX_KEY_BYTES.saturating_sub(self.key.len());
        let taken = bytes.get(..free).unwrap_or(bytes);
        self.key.extend_from_slice(taken);
    }

    fn begin_parameter(&mut self, node: Option<NodeIndex>) {
        self.field = node.and_then(|node| self.pointers.field(node));
        self.field_text.clear();
    }

    #[inline(never)]
    fn keep_parameter(&mut self, bytes: &[u8]) {
        if self.field.is_some() {
            self.field_text.push(bytes);
        }
    }

    fn count(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        match self.string {
            StringUse::Text => self.parameters.add_text(bytes),
            StringUse::Part => self.parameters.add_part_bytes(bytes),
            StringUse::Pending(_) | StringUse::Other => {}
        }
    }

    /// Counts a part of a string, whose beginning may show what it is.
    #[inline(never)]
    fn count_string(&mut self, bytes: &[u8]) {
        let StringUse::Pending(kind) = self.string else {
            return self.count(bytes.len());
        };
        let before = self.beginning.len();
        self.beginning.push(bytes);
        match self.beginning.is_part(kind) {
            None => {}
            // A document that is text has it where others have their bytes.
            Some(false) if kind == Kind::Base64 => {
                self.string = StringUse::Text;
                self.count(before.saturating_add(bytes.len()));
            }
            Some(false) => self.string = StringUse::Other,
            Some(true) => {
                self.string = StringUse::Part;
                self.parameters.add_part();
                self.count(before.saturating_add(bytes.len()));
            }
        }
    }
}

impl Tokens for Finder {
    #[inline(never)]
    fn open(&mut self, is_object: bool) {
        let (node, kind) = self.begin_value();
        if node.and_then(|node| self.pointers.field(node)) == Some(Field::StreamOptions) {
            self.parameters.set_stream_options();
        }
        self.keep(if is_object { b"{" } else { b"[" });
        let outer = self.depth;
        self.depth = self.depth.saturating_add(1);
        if let Some(node) = node {
            self.levels.push(Level {
                node,
                depth: self.depth,
                elements: (!is_object).then_some(0),
            });
        }
        let is_counted = self.text_above.is_some() || self.part_above.is_some();
        match kind {
            _ if is_counted => {}
            Kind::TextBelow if is_object && self.elements.1 != outer => {
                self.text_above = Some(outer);
            }
            Kind::Part => {
                self.part_above = Some(outer);
                self.parameters.add_part();
            }
            kind if !is_object => self.elements = (kind, self.depth),
            _ => {}
        }
    }

    #[inline(never)]
    fn close(&mut self, is_object: bool) {
        self.keep(if is_object { b"}" } else { b"]" });
        if self
            .levels
            .last()
            .is_some_and(|level| level.depth == self.depth)
        {
            self.levels.pop();
        }
        self.next = None;
        self.kind = Kind::Unknown;
        if self.elements.1 == self.depth {
            self.elements = (Kind::Unknown, 0);
        }
        self.depth = self.depth.saturating_sub(1);
        for above in [&mut self.text_above, &mut self.part_above] {
            if *above == Some(self.depth) {
                *above = None;
            }
        }
        self.end_value();
    }

    fn separator(&mut self, byte: u8) {
        self.keep(&[byte]);
    }

    fn begin_string(&mut self, is_key: bool) {
        if !is_key {
            let (node, kind) = self.begin_value();
            self.begin_parameter(node);
            self.beginning.clear();
            self.string = if self.text_above.is_some() {
                StringUse::Text
            } else if self.part_above.is_some() {
                StringUse::Part
            } else {
                match kind {
                    Kind::Text | Kind::TextBelow => StringUse::Text,
                    Kind::Part => {
                        self.parameters.add_part();
                        StringUse::Part
                    }
                    kind => StringUse::Pending(kind),
                }
            };
        }
        self.keep(b"\"");
    }

    fn string(&mut self, bytes: &[u8], is_key: bool) {
        if is_key {
            self.keep_key(bytes);
        } else {
            self.count_string(bytes);
            self.keep_parameter(bytes);
        }
        self.keep(bytes);
    }

    fn escape(&mut self, byte: u8, is_key: bool) {
        let escape = [b'\\', byte];
        if is_key {
            self.keep_key(&escape);
        } else {
            // The digits after a `u` are counted as text: about the size of the character.
            match self.string {
                StringUse::Pending(_) => self.count_string(&[byte]),
                _ => self.count(usize::from(byte != b'u')),
            }
            self.keep_parameter(&escape);
        }
        self.keep(&escape);
    }

    fn end_string(&mut self, is_key: bool) {
        self.keep(b"\"");
        if is_key {
            // A key without escapes is what it is written as.
            let unescaped = self.key.contains(&b'\\').then(|| unescaped(&self.key));
            let key = unescaped.as_ref().map_or(&*self.key, |key| key.as_bytes());
            let level = self.levels.last();
            let is_whole = self.key.len() < MAX_KEY_BYTES;
            let level = level.filter(|level| level.depth == self.depth && is_whole);
            self.next = level.and_then(|level| self.pointers.member(level.node, key));
            self.kind = Kind::of(key, self.depth == 1);
            clear(&mut self.key);
            return;
        }
        if let Some(field) = self.field.take() {
            let text = unescaped(self.field_text.beginning());
            let text = self.field_text.finish(&text, MAX_MODEL_BYTES);
            self.parameters.set_text(field, &text);
            self.field_text.clear();
        }
        self.end_value();
    }

    fn begin_literal(&mut self) {
        let (node, _) = self.begin_value();
        self.begin_parameter(node);
    }

    fn literal(&mut self, bytes: &[u8]) {
        self.keep_parameter(bytes);
        self.keep(bytes);
    }

    fn end_literal(&mut self) {
        if let Some(field) = self.field.take() {
            self.parameters
                .set_literal(field, self.field_text.beginning());
        }
        self.end_value();
    }
}
