//! The reservations of one counter, in constant space.
//!
//! A list of reservations would grow with the requests in flight, and would keep the reservation of a
//! lost request for ever. Instead, reservations are summed in two generations, each as long as a
//! reservation may live. When a generation ends, the one before it expires: a reservation that is
//! never released expires after one to two lifetimes. A [`GenerationId`] names the generation of a
//! reservation, so that releasing one that has expired does not release those of other requests.

#[cfg(test)]
mod tests;

use crate::time::{Nanos, Timestamp};

/// What identifies a reservation when it is released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GenerationId {
    /// The end of the generation in which the reservation was made; the epoch if nothing is reserved.
    until: Timestamp,
}

/// What is reserved in one counter. The default has nothing reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Generations {
    /// Reserved in this generation.
    pub(crate) current: u64,
    /// Reserved in the generation before.
    pub(crate) previous: u64,
    /// The end of this generation; the epoch if there is none.
    pub(crate) until: Timestamp,
    /// How long a generation lasts.
    pub(crate) lifetime: Nanos,
}

// === impl GenerationId ===

impl GenerationId {
    /// The generation of nothing.
    pub(crate) const NONE: Self = Self {
        until: Timestamp::EPOCH,
    };

    /// Returns the number that stands for it, for a record of the reservation.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        self.until.as_u64()
    }

    /// Returns what a number stands for.
    #[must_use]
    pub const fn from_u64(number: u64) -> Self {
        Self {
            until: Timestamp::new(number),
        }
    }
}

// === impl Generations ===

impl Generations {
    /// Returns the reservations as of `now`. A generation that ends later than one lifetime from now
    /// was begun before the clock stepped backwards.
    pub(crate) fn advance(self, now: Timestamp) -> Self {
        let until = self.until.min(now.saturating_add(self.lifetime));
        let next = until.saturating_add(self.lifetime);
        if now < until {
            Self { until, ..self }
        } else if now < next {
            Self {
                current: 0,
                previous: self.current,
                until: next,
                ..self
            }
        } else {
            Self::default()
        }
    }

    /// Returns whether they were written by a clock that was ahead of this one.
    pub(crate) fn is_ahead(self, now: Timestamp) -> bool {
        self.until > now.saturating_add(self.lifetime)
    }

    /// Returns the sum of all reservations.
    pub(crate) const fn total(self) -> u64 {
        self.current.saturating_add(self.previous)
    }

    /// Returns when every reservation of now will have expired; the epoch if nothing is reserved.
    pub(crate) const fn expires_at(self) -> Timestamp {
        if self.current > 0 {
            self.until.saturating_add(self.lifetime)
        } else if self.previous > 0 {
            self.until
        } else {
            Timestamp::EPOCH
        }
    }

    /// Reserves an amount for at least `lifetime`.
    pub(crate) fn reserve(&mut self, now: Timestamp, lifetime: Nanos, amount: u64) -> GenerationId {
        self.lifetime = self.lifetime.max(lifetime);
        if self.until == Timestamp::EPOCH {
            self.until = now.saturating_add(lifetime);
        }
        self.current = self.current.saturating_add(amount);
        GenerationId { until: self.until }
    }

    /// Releases a reservation, unless it has expired.
    pub(crate) fn release(&mut self, generation: GenerationId, amount: u64) {
        if generation.until >= self.until {
            // After a step of the clock the generation may be another; the sum stays right.
            let rest = amount.saturating_sub(self.current);
            self.current = self.current.saturating_sub(amount);
            self.previous = self.previous.saturating_sub(rest);
        } else if generation.until.saturating_add(self.lifetime) >= self.until {
            self.previous = self.previous.saturating_sub(amount);
        }
    }

    /// Returns reservations of at least as much as either, for as long as either.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            current: self.current.max(other.current),
            previous: self.previous.max(other.previous),
            until: self.until.max(other.until),
            lifetime: self.lifetime.max(other.lifetime),
        }
    }
}
