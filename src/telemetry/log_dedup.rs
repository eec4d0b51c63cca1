//! Deduplication of log lines that callers can cause at will.

use crate::memory::Need;
use crate::policies::RateIndex;
use limits::Timestamp;
use std::collections::HashMap;

/// The most lines that are remembered. Beyond it, new lines are suppressed rather than repeated.
const MAX_LINES: usize = 1024;

/// What a line is about. Lines with equal keys are repetitions of one another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LogKey {
    /// A counter, by its rate and key.
    Counter(RateIndex, u128),
    /// A part of a policy, by the policy's name and the path to the part.
    Path(String, String),
    /// Evicted counters.
    Evictions,
    /// Memory that was missing for a need.
    Memory(Need),
}

/// The lines that were logged, each with the time until which it is suppressed.
#[derive(Debug, Default)]
pub(crate) struct LogDedup(HashMap<LogKey, Timestamp>);

// === impl LogDedup ===

impl LogDedup {
    /// Returns whether a line is to be logged now. If so, it is suppressed `until` then.
    pub(crate) fn insert(&mut self, key: LogKey, now: Timestamp, until: Timestamp) -> bool {
        if self.0.get(&key).is_some_and(|end| *end > now) {
            return false;
        }
        if self.0.len() >= MAX_LINES {
            self.0.retain(|_, end| *end > now);
        }
        if self.0.len() >= MAX_LINES {
            return false;
        }
        self.0.insert(key, until);
        true
    }
}
