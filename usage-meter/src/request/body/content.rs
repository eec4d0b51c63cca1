//! What the strings of a body are: text that a model reads, an image or another medium, or neither.

use crate::json::GeneratedKey;

/// The number of characters after which a string shows that it is base64.
const MIN_BASE64: usize = 64;

/// The beginning of a data URL.
const DATA_URL: &[u8] = b"data:";

/// What a key says of its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    #[default]
    Unknown,
    /// Strings are text.
    Text,
    /// All strings in an object are text: arguments of tools, and schemas.
    TextBelow,
    /// It is a part that is not text, such as an image, whether by its bytes or by its address.
    Part,
    /// A string may be such a part in base64.
    Base64,
}

/// The beginning of a string, kept until it shows what the string is.
#[derive(Debug)]
pub(super) struct Beginning {
    bytes: [u8; MIN_BASE64],
    length: usize,
}

// === impl Kind ===

impl Kind {
    /// Returns what a key says of its value.
    pub(super) fn of(key: &[u8], is_at_root: bool) -> Self {
        // What a model has generated is input of the next request.
        match GeneratedKey::of(key) {
            Some(GeneratedKey::Other) => return Self::Text,
            Some(GeneratedKey::Arguments) => return Self::TextBelow,
            Some(GeneratedKey::Delta) | None => {}
        }
        match key {
            b"prompt" | b"system" | b"instructions" | b"inputText" | b"inputs" if is_at_root => {
                Self::Text
            }
            b"image_url" | b"video_url" | b"audio_url" | b"file_url" | b"input_audio" | b"file"
            | b"inlineData" | b"inline_data" | b"fileData" => Self::Part,
            b"data" | b"bytes" | b"file_data" | b"image" | b"images" | b"mask" | b"audio"
            | b"video" | b"b64_json" => Self::Base64,
            _ => Self::Unknown,
        }
    }
}

// === impl Beginning ===

impl Beginning {
    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; MIN_BASE64],
            length: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.length = 0;
    }

    pub(super) const fn len(&self) -> usize {
        self.length
    }

    /// Adds bytes as far as they are needed.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let free = self.bytes.get_mut(self.length..).unwrap_or_default();
        let taken = free.len().min(bytes.len());
        if let (Some(free), Some(bytes)) = (free.get_mut(..taken), bytes.get(..taken)) {
            free.copy_from_slice(bytes);
        }
        self.length = self.length.saturating_add(taken);
    }

    /// Returns whether the string is a part other than text; `None` while it may be either.
    pub(super) fn is_part(&self, kind: Kind) -> Option<bool> {
        let known = self.bytes.get(..self.length).unwrap_or_default();
        if known.len() >= DATA_URL.len() && known.starts_with(DATA_URL) {
            return Some(true);
        }
        if known.len() < DATA_URL.len() && DATA_URL.starts_with(known) {
            return None;
        }
        if kind != Kind::Base64 || !known.iter().all(|byte| is_base64(*byte)) {
            return Some(false);
        }
        (known.len() >= MIN_BASE64).then_some(true)
    }
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_')
}
