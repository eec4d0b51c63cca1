//! Texts of bounded length that stand for texts of any length.
//!
//! A text that is cut off would be the same as others with the same beginning. So what replaces a long text
//! is its beginning and a hash of all of it, and is longer than a text that is not replaced: no text stands for
//! two. The hash has to resist collisions, because a client may choose both texts, and to be the same in all
//! processes, because services count by these texts.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt::Write;

use sha2::{Digest, Sha256};

/// The largest buffer that is kept while it is empty.
const MAX_IDLE_BYTES: usize = 128;

/// The maximum length in bytes of a model's name that is kept as it is: more than any model has.
pub(crate) const MAX_MODEL_BYTES: usize = 160;

/// The bytes of the hash, each of which becomes two digits.
const HASH_BYTES: usize = 16;

/// Returns a text of at most `max` bytes as it is, and of a longer one the beginning, `~` and a hash.
///
/// ```
/// use usage_meter::bounded_text;
///
/// assert_eq!(bounded_text("gpt-4o", 8), "gpt-4o");
/// assert_eq!(bounded_text("gpt-4o-mini", 8), "gpt-4o-m~8a43428062692d369599bd00272fd529");
/// ```
#[must_use]
pub fn bounded_text(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    Cow::Owned(replacement(text, max, Sha256::new_with_prefix(text)))
}

#[cold]
fn replacement(text: &str, max: usize, hash: Sha256) -> String {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    let mut replacement = text.get(..end).unwrap_or_default().to_owned();
    replacement.push('~');
    for byte in hash.finalize().iter().take(HASH_BYTES) {
        // A `String` takes whatever is written.
        let _ = write!(replacement, "{byte:02x}");
    }
    replacement
}

/// Empties a buffer, and releases its memory if a long text has been in it: readers may wait for long.
pub(crate) fn clear(buffer: &mut Vec<u8>) {
    if buffer.capacity() > MAX_IDLE_BYTES {
        *buffer = Vec::new();
    } else {
        buffer.clear();
    }
}

/// The bytes of a text as they pass: the beginning, and a hash of all of them where there are more.
#[derive(Debug, Default)]
pub(crate) struct PassingText {
    beginning: Vec<u8>,
    hash: Option<Box<Sha256>>,
}

// === impl PassingText ===

impl PassingText {
    /// The maximum length in bytes of a text that is kept as a whole; with it every character can be written
    /// as an escape of JSON.
    const MAX_BYTES: usize = 1024;

    /// Forgets the text.
    pub(crate) fn clear(&mut self) {
        clear(&mut self.beginning);
        self.hash = None;
    }

    /// Takes the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let free = Self::MAX_BYTES.saturating_sub(self.beginning.len());
        let (taken, rest) = bytes.split_at_checked(free).unwrap_or((bytes, &[]));
        self.beginning.extend_from_slice(taken);
        if !rest.is_empty() {
            self.hash(rest);
        }
    }

    #[cold]
    fn hash(&mut self, rest: &[u8]) {
        let beginning = &self.beginning;
        let hash = self
            .hash
            .get_or_insert_with(|| Box::new(Sha256::new_with_prefix(beginning)));
        hash.update(rest);
    }

    /// Returns the bytes at the beginning.
    pub(crate) fn beginning(&self) -> &[u8] {
        &self.beginning
    }

    /// Ends the text, whose beginning reads as `text`. Returns what stands for all of it, as
    /// [`bounded_text`] does.
    pub(crate) fn finish<'a>(&self, text: &'a str, max: usize) -> Cow<'a, str> {
        match &self.hash {
            None => bounded_text(text, max),
            Some(hash) => Cow::Owned(replacement(text, max, Sha256::clone(hash))),
        }
    }
}
