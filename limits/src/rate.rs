//! What distinguishes the counters of one rate of one limit from all others.

use crate::time::Nanos;
use crate::window::Window;

/// The identity of the counters of one rate of one limit, and their window. Built once, with the
/// configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    tag: u64,
    window: Window,
}

// === impl Rate ===

impl Rate {
    /// Returns a rate. `identity` is a hash of everything that makes the rate what it is (policy, limit,
    /// counter expressions, window, algorithm): with another identity, counters start anew. The limit's
    /// value should not be part of it, so that counters outlive a change of the limit.
    #[must_use]
    pub const fn new(identity: u128, window: Window) -> Self {
        let [low, high] = halves(identity);
        Self {
            tag: low.wrapping_mul(SPREAD) ^ high,
            window,
        }
    }

    /// Returns the same rate with a window of another length. Its counters are the same.
    #[must_use]
    pub const fn with_length(self, length: Nanos) -> Self {
        let algorithm = self.window.algorithm;
        Self {
            window: Window { algorithm, length },
            ..self
        }
    }

    /// Returns the window.
    #[must_use]
    pub const fn window(&self) -> Window {
        self.window
    }

    /// Returns the identity as it is stored.
    #[must_use]
    pub const fn tag(&self) -> u64 {
        self.tag
    }
}

/// An odd number whose products have well mixed upper halves: 2^64 divided by the golden ratio.
pub(crate) const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Returns the lower and the upper half of a number.
#[expect(
    clippy::cast_possible_truncation,
    reason = "truncation is what splits the number"
)]
pub(crate) const fn halves(number: u128) -> [u64; 2] {
    [number as u64, (number >> 64) as u64]
}

#[cfg(test)]
mod tests;
