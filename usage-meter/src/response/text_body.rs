//! Bodies that are an answer as text, such as a transcript.

/// The length of a body, which may be an answer as text.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextBody {
    kind: Kind,
    has_begun: bool,
    bytes: u64,
}

/// The length of the longest JSON that says nothing: `null`.
const NOTHING_BYTES: u64 = 4;

/// What the content type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Plain text, subtitles, or nothing.
    Text,
    /// JSON or another format; text if it is one JSON string.
    Other,
}

// === impl TextBody ===

impl TextBody {
    /// Returns the body of a response with this content type, before its first byte.
    pub(super) fn of(content_type: &[u8]) -> Self {
        let begins = |name: &[u8]| {
            let beginning = content_type.get(..name.len());
            beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(name))
        };
        let is_text = content_type.is_empty() || begins(b"text/");
        let is_other = begins(b"text/html") || begins(b"text/event-stream");
        let kind = if (is_text && !is_other) || begins(b"application/x-subrip") {
            Kind::Text
        } else {
            Kind::Other
        };
        Self {
            kind,
            has_begun: false,
            bytes: 0,
        }
    }

    /// Takes the next bytes of the decoded body.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        if !self.has_begun {
            bytes = bytes.trim_ascii_start();
            let Some(first) = bytes.first() else {
                return;
            };
            self.has_begun = true;
            match first {
                // Also gzip without a `content-encoding`.
                b'"' | 0x1f => self.kind = Kind::Text,
                // Markup, or not text at all.
                b'<' | ..b' ' => self.kind = Kind::Other,
                _ => {}
            }
        }
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
    }

    /// Takes the length of the next bytes, which are not read, of a body that has begun.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Returns whether the body is more than an empty value of JSON.
    pub(super) fn has_content(&self) -> bool {
        self.bytes > NOTHING_BYTES
    }

    /// Returns the length of the text; 0 if the body is not text.
    pub(super) fn len(&self) -> u64 {
        match self.kind {
            Kind::Text => self.bytes,
            Kind::Other => 0,
        }
    }
}
