//! Paths to a place in the configuration, as faults show them.

use std::fmt;

use crate::json::shortened;

/// A place in the configuration: the way to it from the root.
///
/// Displays as `spec.limits.free.when[0].predicate`; a key that is no plain word is quoted, as in
/// `spec.limits["a.b"]`, and the root is `configuration`.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

/// Bytes of the longest key that a path shows whole.
const SHOWN_WORD_BYTES: usize = 253;

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
            Path::Field(Path::Root, name) if is_word(name) => formatter.write_str(name),
            Path::Field(parent, name) if is_word(name) => write!(formatter, "{parent}.{name}"),
            Path::Field(parent, name) => write!(formatter, "{parent}[{:?}]", shortened(name)),
            Path::Item(parent, position) => write!(formatter, "{parent}[{position}]"),
        }
    }
}

fn is_word(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= SHOWN_WORD_BYTES
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}
