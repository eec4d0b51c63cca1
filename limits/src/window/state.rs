//! What an algorithm keeps of a counter's usage.

use crate::time::Timestamp;

/// The usage of one counter, as its window's algorithm keeps it. The default is an unused counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// The instant that the amounts refer to: the end of the window or, for a bucket, when its level
    /// was computed.
    pub(crate) at: Timestamp,
    /// The usage in the window or, for a bucket, the whole units that are missing.
    pub(crate) used: u64,
    /// For a sliding window, the usage in the window before this one. For a bucket, the part of a unit
    /// that is missing beyond `used`, in parts of which one unit has as many as the window has
    /// nanoseconds.
    pub(crate) previous: u64,
}

// === impl State ===

impl State {
    /// Returns a state that has used at least as much as either, for as long as either.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            at: self.at.max(other.at),
            used: self.used.max(other.used),
            previous: self.previous.max(other.previous),
        }
    }
}
