//! The part that one exchange has in one counter: what it reserves, how the counter stands, and what
//! the exchange costs in the end.

mod generations;

use crate::rate::Rate;
use crate::time::Timestamp;
use crate::window::State;
pub use generations::GenerationId;
pub(crate) use generations::Generations;

/// The part that one exchange has in one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The rate that the counter belongs to.
    pub rate: Rate,
    /// A hash of the values that the limit counts by, well spread over all 128 bits. Counters with the
    /// same key are read and written together, whatever their rates. `u128::MAX` is not available.
    pub key: u128,
    /// The most that may be used in the rate's window.
    pub limit: u64,
    /// The expected usage of the request, which is reserved until it is settled; 0 reserves nothing.
    pub amount: u64,
    /// Whether nothing may go past the limit: a request without others beside it is admitted only if all that it reserves
    /// fits.
    pub is_hard: bool,
    /// What identifies the reservation; set by [`LocalStore::reserve`](crate::LocalStore::reserve).
    pub generation: GenerationId,
    /// How the counter stood without this request, or stands since it was settled; set by
    /// [`LocalStore::reserve`](crate::LocalStore::reserve) and
    /// [`LocalStore::settle`](crate::LocalStore::settle).
    pub standing: Standing,
    /// The usage that [`LocalStore::settle`](crate::LocalStore::settle) records.
    pub cost: u64,
    /// What it has recorded; `None` until then.
    pub charged: Option<Charged>,
}

/// The recorded cost of an exchange, with the state that is needed to correct it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charged {
    /// The usage.
    pub(crate) cost: u64,
    /// The counter's window right after the usage was added to it; an unused one after a correction,
    /// from which nothing can be taken back.
    pub(crate) state: State,
}

/// How a counter stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The most that may be used.
    pub limit: u64,
    /// What was used in the window.
    pub used: u64,
    /// What requests in flight have reserved.
    pub reserved: u64,
    /// When nothing will be used any more. For a request that was rejected, when the next one fits, if
    /// nothing is used or reserved until then; that is now if only requests in flight are in the way,
    /// because it is not known when they end.
    pub resets_at: Timestamp,
}

/// Whether a request was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every counter has room, and has reserved it.
    Admitted,
    /// At least one counter has no room; nothing is reserved.
    Rejected {
        /// The index of the reservation that does not fit; of several, the one with the longest wait.
        index: usize,
        /// How its counter stands.
        standing: Standing,
    },
}

// === impl Reservation ===

impl Reservation {
    /// Returns a reservation that is still to be made.
    #[must_use]
    pub const fn new(rate: Rate, key: u128, limit: u64, amount: u64) -> Self {
        Self {
            rate,
            key,
            limit,
            amount,
            is_hard: false,
            generation: GenerationId::NONE,
            standing: Standing::UNKNOWN,
            cost: 0,
            charged: None,
        }
    }

    /// Returns whether another reservation is in the same counter.
    pub(crate) const fn same_counter(&self, other: &Self) -> bool {
        self.key == other.key && self.rate.tag() == other.rate.tag()
    }
}

// === impl Charged ===

impl Charged {
    /// Returns the usage that was recorded.
    #[must_use]
    pub const fn cost(&self) -> u64 {
        self.cost
    }
}

impl AsRef<Self> for Reservation {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl AsMut<Self> for Reservation {
    fn as_mut(&mut self) -> &mut Self {
        self
    }
}

// === impl Standing ===

impl Standing {
    /// The standing of a counter that was not read.
    pub(crate) const UNKNOWN: Self = Self {
        limit: 0,
        used: 0,
        reserved: 0,
        resets_at: Timestamp::EPOCH,
    };

    /// Returns whether only requests in flight are in the way of a request that was rejected: less than
    /// the limit is used, and there may be room as soon as one of them is settled.
    #[must_use]
    pub const fn is_only_reserved(&self) -> bool {
        self.used < self.limit && self.reserved > 0
    }

    /// Returns what is left for a request that comes now.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        self.limit
            .saturating_sub(self.used)
            .saturating_sub(self.reserved)
    }
}
