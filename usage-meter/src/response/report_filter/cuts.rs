//! Bytes from which ranges are removed in place.

use std::ops::Range;

/// Bytes from which ranges are removed, one after another.
#[derive(Debug)]
pub(super) struct Cuts<'a> {
    bytes: &'a mut Vec<u8>,
    /// The length of what is kept of the bytes before `from`, and has its place.
    kept: usize,
    /// The end of the last range that was removed.
    from: usize,
}

// === impl Cuts ===

impl<'a> Cuts<'a> {
    pub(super) fn of(bytes: &'a mut Vec<u8>) -> Self {
        Self {
            bytes,
            kept: 0,
            from: 0,
        }
    }

    /// Returns the bytes, which are unchanged after the last range that was removed.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// Removes a range after the last one that was removed.
    pub(super) fn remove(&mut self, range: Range<usize>) {
        self.keep_until(range.start);
        self.from = range.end;
    }

    /// Closes the gaps. Returns whether there were any.
    pub(super) fn finish(mut self) -> bool {
        if self.from == 0 {
            return false;
        }
        self.keep_until(self.bytes.len());
        self.bytes.truncate(self.kept);
        true
    }

    /// Moves the bytes from the last range that was removed up to `end` to their place.
    fn keep_until(&mut self, end: usize) {
        let end = end.min(self.bytes.len());
        let length = end.saturating_sub(self.from);
        if self.kept < self.from && length > 0 {
            self.bytes.copy_within(self.from..end, self.kept);
        }
        self.kept = self.kept.saturating_add(length);
    }
}
