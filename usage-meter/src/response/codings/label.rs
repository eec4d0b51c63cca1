//! Whether the bytes of a body agree with its `content-encoding`.
//!
//! The header is often wrong: a proxy decodes the body and keeps the header, or a server sends `none` so
//! that no proxy encodes the body. Text that is labelled as encoded is read as it is.

/// The number of bytes from which is detected whether a body is encoded.
const DETECTION_BYTES: usize = 16;

/// The first bytes of JSON, of server-sent events and of a byte order mark.
const STARTS_OF_TEXT: &[u8] = b"{[\":deir\xef \t\r\n";

/// What the header says about the bytes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// They are in a coding whose bytes begin like this.
    Begins(&'static [u8]),
    /// They are in a coding whose bytes begin in any way.
    Any,
    /// They are in a coding that is not known.
    Unknown,
}

/// The first bytes of a body.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FirstBytes {
    bytes: [u8; DETECTION_BYTES],
    length: usize,
}

/// Whether the bytes of a body are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detected {
    /// They are.
    Encoded,
    /// They are text.
    Text,
    /// More bytes are needed.
    NotYet,
}

// === impl FirstBytes ===

impl FirstBytes {
    /// Takes the first of these bytes as far as they are needed, and returns the others.
    pub(super) fn take<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let free = self.bytes.get_mut(self.length..).unwrap_or_default();
        let taken = free.len().min(bytes.len());
        let (first, others) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
        if let Some(free) = free.get_mut(..taken) {
            free.copy_from_slice(first);
        }
        self.length = self.length.saturating_add(taken);
        others
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Returns whether the body is encoded as it is labelled. `are_all` says whether it has no more bytes.
    pub(super) fn detect(&self, label: Label, are_all: bool) -> Detected {
        let bytes = self.as_bytes();
        let Some(first) = bytes.first() else {
            return Detected::NotYet;
        };
        let may_be_text = match label {
            Label::Begins(magic) => magic.first() != Some(first),
            Label::Any => STARTS_OF_TEXT.contains(first),
            Label::Unknown => true,
        };
        if !may_be_text || !is_text(bytes) {
            Detected::Encoded
        } else if are_all || bytes.len() == DETECTION_BYTES {
            Detected::Text
        } else {
            Detected::NotYet
        }
    }
}

/// Returns whether bytes are UTF-8, of which the last character may be incomplete, without control characters
/// but white space.
fn is_text(bytes: &[u8]) -> bool {
    let is_control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    let is_utf8 = match str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    is_utf8 && !bytes.iter().any(is_control)
}
