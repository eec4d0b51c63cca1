//! Counters: how much of each limit is used, and how much is held by requests in flight.
//!
//! [`Window`] is the arithmetic of a limit over time, a pure function of state, time and amount.
//! [`Local`] keeps counters in the memory that Envoy's workers share, [`Remote`] in a rate limit
//! service. Nothing here knows a clock: time is passed in, as nanoseconds since the Unix epoch. Amounts are whole numbers of whatever
//! the limit counts.
//!
//! A request claims room in every counter that applies to it, and gets all or nothing
//! ([`Local::admit`]); when it is over, what it cost is added and what it held is released
//! ([`Local::settle`]).

mod counter;
mod exchange;
mod holds;
mod local;
mod page;
pub mod remote;
#[cfg(test)]
mod tests;
pub mod window;

pub use holds::Ticket;
pub use local::{Local, Occupancy, StorageError};
pub use remote::Remote;
pub use window::{Algorithm, Window};

/// What tells the counters of one rate of one limit from all others, and how they forget.
/// Built once, with the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    tag: u64,
    window: Window,
}

/// What an exchange asks of one counter.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The rate that the counter belongs to.
    pub rate: &'a Rate,
    /// A hash of the values that the limit counts by, well spread over all 128 bits, and of nothing
    /// else: counters with the same key are read and written together, whatever their rates.
    /// `u128::MAX` is taken.
    pub key: u128,
    /// The most that may be used in the rate's window.
    pub limit: u64,
    /// What the request is expected to use, kept for it until it is settled; 0 keeps nothing.
    pub hold: u64,
}

/// How a counter stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The most that may be used.
    pub limit: u64,
    /// What was used in the window.
    pub used: u64,
    /// What is held by requests in flight, at admission without the one that is asking.
    pub held: u64,
    /// Nanoseconds since the epoch: when nothing will be used any more or, of a claim that was
    /// refused, when the next request fits, if nothing is used or held until then. That is `now`
    /// where only requests in flight are in the way: nobody knows when they end.
    pub resets_at: u64,
}

/// What became of a request's claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every counter has room, and keeps it.
    Admitted,
    /// At least one has not; nothing is held.
    Denied {
        /// The claim that was refused; of several, the one that keeps the caller waiting longest.
        claim: usize,
        /// How its counter stands.
        standing: Standing,
    },
}

// === impl Rate ===

impl Rate {
    /// A rate. The identity is a hash of all that makes it what it is (policy, limit, counter
    /// expressions, window, algorithm): with another identity, counters start anew. The limit's
    /// value is no part of it, so that counters outlive its change.
    #[must_use]
    pub const fn new(identity: u128, window: Window) -> Self {
        let [low, high] = halves(identity);
        Self {
            tag: low.wrapping_mul(SPREAD) ^ high,
            window,
        }
    }

    /// The same rate, with a window of another length. Its counters are the same.
    #[must_use]
    pub const fn with_length(self, length: u64) -> Self {
        let algorithm = self.window.algorithm;
        Self {
            window: Window { algorithm, length },
            ..self
        }
    }

    /// How the rate's counters forget.
    #[must_use]
    pub const fn window(&self) -> Window {
        self.window
    }
}

impl Claim<'_> {
    /// Whether another claim is on the same counter.
    fn same_counter(&self, other: &Claim<'_>) -> bool {
        self.key == other.key && self.rate.tag == other.rate.tag
    }
}

impl Standing {
    /// Whether requests in flight alone are in the way of a request that was refused: less than the limit is used, and
    /// there may be room as soon as one of them is done.
    #[must_use]
    pub const fn is_only_held(&self) -> bool {
        self.used < self.limit && self.held > 0
    }

    /// What is left, for a request that comes now.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        self.limit
            .saturating_sub(self.used)
            .saturating_sub(self.held)
    }
}

/// An odd number whose products have well mixed upper halves: 2^64 over the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The lower and the upper half of a number.
#[allow(clippy::cast_possible_truncation)] // It is what splits the number.
const fn halves(number: u128) -> [u64; 2] {
    [number as u64, (number >> 64) as u64]
}
