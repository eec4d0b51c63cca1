//! The key or scalar at hand, kept up to a bound.

use std::borrow::Cow;

/// How many bytes of a key or scalar are kept.
pub const LONGEST: usize = 160;

/// Bytes of a string between its quotes, or of a literal.
#[derive(Debug)]
pub(super) struct Text {
    bytes: [u8; LONGEST],
    length: usize,
    escaped: bool,
}

impl Text {
    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; LONGEST],
            length: 0,
            escaped: false,
        }
    }

    pub(super) fn clear(&mut self) {
        self.length = 0;
        self.escaped = false;
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let free = self.bytes.get_mut(self.length..).unwrap_or_default();
        let taken = free.len().min(bytes.len());
        if let (Some(free), Some(bytes)) = (free.get_mut(..taken), bytes.get(..taken)) {
            free.copy_from_slice(bytes);
        }
        self.length = self.length.saturating_add(taken);
    }

    /// Takes an escape, of which `byte` follows the backslash.
    pub(super) fn push_escape(&mut self, byte: u8) {
        self.escaped = true;
        self.push(&[b'\\', byte]);
    }

    /// Whether nothing has been taken.
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The bytes as they were written.
    pub(super) fn raw(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// The string that the bytes stand for; as written where an escape is none of JSON's.
    pub(super) fn decoded(&self) -> Cow<'_, [u8]> {
        let raw = self.raw();
        if !self.escaped {
            return Cow::Borrowed(raw);
        }
        let mut quoted = Vec::with_capacity(raw.len().saturating_add(2));
        quoted.push(b'"');
        quoted.extend_from_slice(raw);
        quoted.push(b'"');
        match serde_json::from_slice::<String>(&quoted) {
            Ok(decoded) => Cow::Owned(decoded.into_bytes()),
            Err(_) => Cow::Borrowed(raw),
        }
    }
}
