//! Where a choice has finished.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// The minimum length in bytes of a piece of which only the end is searched.
const MIN_PIECE_BYTES: usize = 4096;

/// The number of bytes before the end of such a piece in which a choice finishes whose report begins there.
const MAX_DISTANCE_BYTES: usize = 2048;

/// The key of a finish reason, whose value is a string in the last chunk of its choice.
const KEY: &[u8] = b"finish_reason\":";

/// The length of the key with the space and the quote that may follow it, without the last byte.
const MAX_BEGUN_BYTES: usize = KEY.len().saturating_add(1);

/// How long ago a choice has finished: the chunk with a finish reason is the last of its choice.
#[derive(Clone, Debug, Default)]
pub(super) struct Finish {
    /// The number of bytes since the last finish reason began.
    distance: Option<usize>,
    /// The last bytes, if a finish reason may begin in them.
    end: Vec<u8>,
}

// === impl Finish ===

impl Finish {
    /// Returns the number of bytes since the last finish reason; `None` before the first.
    pub(super) fn distance(&self) -> Option<usize> {
        self.distance
    }

    /// Reads the end of a piece whose other bytes are not at hand, unless a choice has finished by then. Returns whether
    /// none has.
    pub(super) fn passes(&mut self, tail: &[u8]) -> bool {
        let passes = self.distance.is_none() && distance(tail).is_none();
        if passes {
            self.end.clear();
            self.keep_end(tail);
        }
        passes
    }

    /// Reads the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let far = match bytes.len() {
            ..MIN_PIECE_BYTES => 0,
            length => length.saturating_sub(MAX_DISTANCE_BYTES),
        };
        let near = bytes.get(far..).unwrap_or_default();
        let found = distance(near).or_else(|| self.distance_across(near));
        let passed = self.distance;
        self.distance = found.or_else(|| Some(passed?.saturating_add(bytes.len())));
        self.keep_end(near);
    }

    /// Returns the distance of a finish reason that began in the bytes before.
    fn distance_across(&self, bytes: &[u8]) -> Option<usize> {
        if self.end.is_empty() {
            return None;
        }
        let (first, rest) = bytes
            .split_at_checked(MAX_BEGUN_BYTES)
            .unwrap_or((bytes, &[]));
        let distance = distance(&[&self.end, first].concat())?;
        Some(distance.saturating_add(rest.len()))
    }

    /// Keeps the last bytes, unless they end a line.
    fn keep_end(&mut self, bytes: &[u8]) {
        if bytes.len() >= MAX_BEGUN_BYTES || bytes.ends_with(b"\n") {
            self.end.clear();
        }
        if !bytes.ends_with(b"\n") {
            let start = bytes.len().saturating_sub(MAX_BEGUN_BYTES);
            self.end
                .extend_from_slice(bytes.get(start..).unwrap_or_default());
            let excess = self.end.len().saturating_sub(MAX_BEGUN_BYTES);
            self.end.drain(..excess);
        }
    }
}

/// Returns how far from the end the last finish reason begins.
fn distance(bytes: &[u8]) -> Option<usize> {
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(KEY));
    let is_reason = |at: &usize| {
        let value = bytes.get(at.saturating_add(KEY.len())..);
        let value = value.unwrap_or_default();
        value.strip_prefix(b" ").unwrap_or(value).starts_with(b"\"")
    };
    let last = FINDER.find_iter(bytes).filter(is_reason).last()?;
    bytes.len().checked_sub(last)
}
