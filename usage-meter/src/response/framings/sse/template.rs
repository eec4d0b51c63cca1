//! The events of a stream that differ in their text alone.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use memchr::memrchr;

use crate::json::GeneratedKey;
use crate::json::search::string_end;

#[cfg(test)]
mod tests;

/// The maximum length in bytes of an event that is a template.
const MAX_BYTES: usize = 1024;

/// After this number of kept events without a like one, no event is kept.
const MAX_UNUSED: u8 = 16;

/// The event that was scanned last, without its text. One that differs from it in its text alone needs no scan.
#[derive(Debug, Default)]
pub(super) struct Template {
    /// The event without its text; empty if there is none.
    event: Vec<u8>,
    /// Where its text is.
    text_at: usize,
    /// The number of events that were kept since the last one that was like its predecessor.
    unused: u8,
}

/// An event that is like the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alike {
    /// The length of its text, which is not empty.
    pub(super) text_bytes: usize,
    /// The length of the event.
    pub(super) bytes: usize,
}

// === impl Template ===

impl Template {
    /// Returns the first event if it is like the template.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<Alike> {
        if self.event.is_empty() {
            return None;
        }
        let (before, after) = self.event.split_at_checked(self.text_at)?;
        let text = bytes.strip_prefix(before)?;
        let text_bytes = string_end(text).filter(|bytes| *bytes > 0)?;
        text.get(text_bytes..)?.strip_prefix(after)?;
        self.unused = 0;
        Some(Alike {
            text_bytes,
            bytes: self.event.len().saturating_add(text_bytes),
        })
    }

    /// Forgets the template.
    pub(super) fn clear(&mut self) {
        self.event.clear();
    }

    /// Keeps a whole event in which this number of bytes of text was found, all in one string.
    pub(super) fn keep(&mut self, event: &[u8], text_bytes: u64) {
        self.clear();
        if self.unused == MAX_UNUSED || event.len() > MAX_BYTES || !event.ends_with(b"\n") {
            return;
        }
        let Some((before, after)) = around_text(event, text_bytes) else {
            return;
        };
        self.unused = self.unused.saturating_add(1);
        self.text_at = before.len();
        self.event.extend_from_slice(before);
        self.event.extend_from_slice(after);
    }
}

/// Returns what is before and after the only generated text of an event; `None` unless it has this length, and no
/// escapes.
fn around_text(event: &[u8], text_bytes: u64) -> Option<(&[u8], &[u8])> {
    static KEY_END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\":"));
    let mut found = None;
    for key_end in KEY_END.find_iter(event) {
        let before = event.get(..key_end)?;
        let key = before.get(memrchr(b'"', before)?.checked_add(1)?..)?;
        let value = event.get(key_end.checked_add(2)?..)?;
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if let Some(text) = value.strip_prefix(b"\"")
            && GeneratedKey::of(key).is_some()
        {
            if found.is_some() {
                return None;
            }
            found = Some(text);
        }
    }
    let text = found?;
    let length = string_end(text).filter(|bytes| *bytes as u64 == text_bytes)?;
    let after = text.get(length..).filter(|rest| rest.starts_with(b"\""))?;
    let before = event.get(..event.len().checked_sub(text.len())?)?;
    Some((before, after))
}
