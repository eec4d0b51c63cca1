//! What requests in flight hold of a counter, in constant space.
//!
//! A list of holds would grow with the requests in flight, and a lost stream would leave its hold
//! in it for ever. Instead, holds are summed in two generations, each as long as a hold may live.
//! When a generation ends, the one before it is forgotten: a hold that is never released is
//! forgotten after one to two lifetimes. Whoever releases shows a [`Ticket`], which tells the
//! generation, so that a hold that was forgotten is not taken from what others hold.

#[cfg(test)]
mod tests;

/// What must be known to release a hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticket {
    /// The end of the generation that the hold was placed in; 0 where nothing is held.
    until: u64,
}

/// What is held of one counter. The default holds nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Holds {
    /// Placed in this generation.
    pub(super) current: u64,
    /// Placed in the generation before.
    pub(super) previous: u64,
    /// The end of this generation, in nanoseconds since the epoch; 0 where there is none.
    pub(super) until: u64,
    /// How long a generation lasts, in nanoseconds.
    pub(super) lifetime: u64,
}

// === impl Holds ===

impl Holds {
    /// The holds as of `now`. A generation cannot end later than one lifetime from now, unless a
    /// clock has stepped backwards.
    pub(super) fn advance(self, now: u64) -> Self {
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

    /// Whether a clock has written them that was ahead of this one.
    pub(super) fn is_ahead(self, now: u64) -> bool {
        self.until > now.saturating_add(self.lifetime)
    }

    /// All that is held.
    pub(super) fn total(self) -> u64 {
        self.current.saturating_add(self.previous)
    }

    /// When everything held now will be forgotten; 0 where nothing is held.
    pub(super) fn forgotten_at(self) -> u64 {
        if self.current > 0 {
            self.until.saturating_add(self.lifetime)
        } else if self.previous > 0 {
            self.until
        } else {
            0
        }
    }

    /// Holds an amount for at least `lifetime`.
    pub(super) fn place(&mut self, now: u64, lifetime: u64, amount: u64) -> Ticket {
        self.lifetime = self.lifetime.max(lifetime);
        if self.until == 0 {
            self.until = now.saturating_add(lifetime);
        }
        self.current = self.current.saturating_add(amount);
        Ticket { until: self.until }
    }

    /// Releases what was held with a ticket, unless it was forgotten.
    pub(super) fn release(&mut self, ticket: Ticket, amount: u64) {
        if ticket.until >= self.until {
            // After a step of the clock the generation may be another; the sum stays right.
            let rest = amount.saturating_sub(self.current);
            self.current = self.current.saturating_sub(amount);
            self.previous = self.previous.saturating_sub(rest);
        } else if ticket.until.saturating_add(self.lifetime) >= self.until {
            self.previous = self.previous.saturating_sub(amount);
        }
    }

    /// Holds at least as much as either, for as long as either.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            current: self.current.max(other.current),
            previous: self.previous.max(other.previous),
            until: self.until.max(other.until),
            lifetime: self.lifetime.max(other.lifetime),
        }
    }
}
