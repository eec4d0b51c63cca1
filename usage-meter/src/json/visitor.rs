//! The interface between a [`Scanner`](super::Scanner) and its user.

use std::borrow::Cow;

/// Receives what the scanner finds, in the order of the bytes.
pub trait Visitor<F> {
    /// Receives the start of a document: an object at the root, or in an array at the root.
    fn begin_document(&mut self);

    /// Receives the start of a document in an array at the root, instead of
    /// [`Self::begin_document`].
    fn begin_element(&mut self) {
        self.begin_document();
    }

    /// Receives the start of an object or array that is the value of `field`.
    fn open(&mut self, field: F);

    /// Receives the end of an object or array that is the value of `field`; `empty` if it has no
    /// members.
    fn close(&mut self, field: F, empty: bool);

    /// Receives a scalar that is the value of `field`, truncated to
    /// [`MAX_SCALAR_BYTES`](super::MAX_SCALAR_BYTES).
    fn scalar(&mut self, field: F, value: &Scalar<'_>);

    /// Returns whether [`Self::bytes`] is to receive the value of `field`, if that is an object,
    /// an array or a string.
    fn wants_bytes(&self, field: F) -> bool;

    /// Receives the next bytes of such a value as written; of a string, those between its quotes.
    fn bytes(&mut self, bytes: &[u8]);

    /// Receives the length of a piece of generated text, found under `key`.
    fn generated(&mut self, key: GeneratedKey, bytes: u64);

    /// Receives the total length of the strings in a document, without its keys, before its end. Long strings
    /// without a space, such as images in base64, do not count.
    fn strings(&mut self, _bytes: u64) {}

    /// Receives the end of a document; not `complete` if the input ends within it.
    fn end_document(&mut self, complete: bool);
}

/// A value that is neither an object nor an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar<'a> {
    /// A string, its escapes decoded.
    Text(Cow<'a, [u8]>),
    /// A number, `true`, `false` or `null`, as written.
    Literal(&'a [u8]),
}

/// The kind of key under which generated text was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeneratedKey {
    /// `delta`: the next piece of text, in an event of a stream.
    Delta,
    /// Arguments of a tool call, which may be an object.
    Arguments,
    /// Any other key of generated text.
    Other,
}

// === impl GeneratedKey ===

impl GeneratedKey {
    /// Returns the kind of a key; `None` if APIs have no generated text under it.
    pub(crate) fn of(key: &[u8]) -> Option<Self> {
        Some(match key {
            b"delta" => Self::Delta,
            b"arguments" | b"args" | b"input" | b"parameters" => Self::Arguments,
            b"content" | b"text" | b"reasoning_content" | b"reasoning" | b"thinking"
            | b"partial_json" | b"refusal" | b"response" | b"completion" | b"generation"
            | b"outputText" | b"text_output" | b"generated_text" | b"transcript" | b"tool_plan"
            | b"answer" | b"Content" | b"result" => Self::Other,
            _ => return None,
        })
    }
}
