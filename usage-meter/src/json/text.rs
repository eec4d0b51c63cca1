//! The key or scalar being read, kept up to a maximum length.

use std::borrow::Cow;

/// The maximum length of a key or scalar in bytes; longer ones are truncated.
pub const MAX_SCALAR_BYTES: usize = 160;

/// The bytes of a string between its quotes, or of a literal.
#[derive(Debug)]
pub(super) struct Text {
    bytes: [u8; MAX_SCALAR_BYTES],
    length: usize,
    escaped: bool,
}

// === impl Text ===

impl Text {
    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; MAX_SCALAR_BYTES],
            length: 0,
            escaped: false,
        }
    }

    pub(super) fn clear(&mut self) {
        self.length = 0;
        self.escaped = false;
    }

    /// Appends bytes as far as there is room.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let free = self.bytes.get_mut(self.length..).unwrap_or_default();
        let taken = free.len().min(bytes.len());
        if let (Some(free), Some(bytes)) = (free.get_mut(..taken), bytes.get(..taken)) {
            free.copy_from_slice(bytes);
        }
        self.length = self.length.saturating_add(taken);
    }

    /// Appends a backslash and the byte after it.
    pub(super) fn push_escape(&mut self, byte: u8) {
        self.escaped = true;
        self.push(&[b'\\', byte]);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Returns the bytes as written.
    pub(super) fn raw(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Returns the decoded string, or the bytes as written if an escape is not valid JSON.
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
