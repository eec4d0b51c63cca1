//! The length of the strings of a document.

use memchr::memchr3;

/// The length in bytes up to which a string is text, whatever is in it.
const MAX_WORD_BYTES: u64 = 1024;

/// The number of bytes at the start of a string that are not searched for spaces: most strings have no more.
const UNSEARCHED_BYTES: u64 = 64;

/// The length of the strings of a document that are values and text. A long string without a space is not
/// text but an encoding of an image or the like.
#[derive(Debug, Default)]
pub(super) struct StringBytes {
    total: u64,
    /// The length of the last string, which may be a key.
    last: u64,
    /// Whether the last string has a space, or Chinese or Japanese punctuation, in the part that is searched.
    has_space: bool,
}

// === impl StringBytes ===

impl StringBytes {
    /// Starts a string.
    pub(super) fn begin(&mut self) {
        self.end_last();
    }

    /// Adds the next bytes of the string.
    pub(super) fn add(&mut self, run: &[u8]) {
        let before = self.last;
        self.last = before.saturating_add(run.len() as u64);
        if self.last > UNSEARCHED_BYTES && !self.has_space {
            self.search(run, before);
        }
    }

    /// Searches the next bytes of the string, of which so many came before.
    fn search(&mut self, run: &[u8], before: u64) {
        let unsearched = UNSEARCHED_BYTES.saturating_sub(before);
        let unsearched = usize::try_from(unsearched).unwrap_or(usize::MAX);
        let searched = run.get(unsearched..).unwrap_or_default();
        self.has_space = memchr3(b' ', 0xe3, 0xef, searched).is_some();
    }

    /// Forgets the last string, because it is a key.
    pub(super) fn forget_last(&mut self) {
        self.last = 0;
        self.has_space = false;
    }

    /// Ends the document, and returns the length.
    pub(super) fn take(&mut self) -> u64 {
        self.end_last();
        std::mem::take(&mut self.total)
    }

    fn end_last(&mut self) {
        if self.has_space || self.last <= MAX_WORD_BYTES {
            self.total = self.total.saturating_add(self.last);
        }
        self.forget_last();
    }
}
