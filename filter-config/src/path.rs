//! Paths to places in the configuration.

use std::fmt;

/// A place in the configuration: the fields and items from the root to it.
///
/// Displays as `spec.limits.free.when[0].predicate`. A key that is not a plain word is quoted, as in
/// `spec.limits["a.b"]`, and the root is `configuration`.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
    Root,
    /// A place whose path is known as a text.
    At(&'a str),
    Field(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

/// Bytes of the longest key that is displayed in full.
const MAX_WORD_BYTES: usize = 253;

/// Characters of a string from the document that a message displays.
const MAX_SHOWN_CHARS: usize = 64;

// === impl Path ===

impl<'a> Path<'a> {
    pub(crate) fn field(&'a self, name: &'a str) -> Path<'a> {
        Path::Field(self, name)
    }

    pub(crate) fn item(&'a self, position: usize) -> Path<'a> {
        Path::Item(self, position)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => formatter.write_str("configuration"),
            Path::At(path) => formatter.write_str(path),
            Path::Field(Path::Root, name) if is_word(name) => formatter.write_str(name),
            Path::Field(parent, name) if is_word(name) => write!(formatter, "{parent}.{name}"),
            Path::Field(parent, name) => write!(formatter, "{parent}[{:?}]", shortened(name)),
            Path::Item(parent, position) => write!(formatter, "{parent}[{position}]"),
        }
    }
}

fn is_word(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_WORD_BYTES
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Returns the beginning of a string from the document, for display.
pub(crate) fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
