//! The key or scalar being read, kept up to a maximum length.

use std::borrow::Cow;

/// The maximum length of a key or scalar in bytes; longer ones are truncated.
pub const MAX_SCALAR_BYTES: usize = 160;

/// The bytes of a string between its quotes, or of a literal.
#[derive(Debug)]
pub(super) struct Text {
    bytes: Vec<u8>,
    escaped: bool,
}

// === impl Text ===

impl Text {
    pub(super) const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            escaped: false,
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.escaped = false;
    }

    /// Appends bytes as far as there is room.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let free = MAX_SCALAR_BYTES.saturating_sub(self.bytes.len());
        self.bytes
            .extend_from_slice(bytes.get(..free).unwrap_or(bytes));
    }

    /// Appends a backslash and the byte after it.
    pub(super) fn push_escape(&mut self, byte: u8) {
        self.escaped = true;
        self.push(&[b'\\', byte]);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the bytes as written.
    pub(super) fn raw(&self) -> &[u8] {
        &self.bytes
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
