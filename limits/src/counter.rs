//! One counter: what is used, what is reserved, and whether there is room for a request.

use crate::reservation::{Charged, Generations, Reservation, Standing};
use crate::time::{Nanos, Timestamp};
use crate::window::{State, Window};

/// A counter. The default has nothing used and nothing reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counter {
    pub(crate) state: State,
    pub(crate) reserved: Generations,
}

// === impl Counter ===

impl Counter {
    /// Returns the counter as of `now`. One with nothing used and nothing reserved is as good as new:
    /// its window begins with the next hit.
    pub(crate) fn advance(self, reservation: &Reservation, now: Timestamp) -> Self {
        let window = reservation.rate.window();
        let state = window.advance(self.state, now, reservation.limit);
        let reserved = self.reserved.advance(now);
        if window.used(state, now) == 0 && reserved.total() == 0 {
            return Self::default();
        }
        Self { state, reserved }
    }

    /// Returns the counter of a caller that was not seen in this window, made from one that reads at
    /// least as high as the caller's own: its usage counts for a whole window from now.
    pub(crate) fn renewed(self, reservation: &Reservation, now: Timestamp) -> Self {
        Self {
            state: reservation.rate.window().renew(self.state, now),
            ..self
        }
    }

    /// Returns whether the counter was written by a clock that was ahead of this one.
    pub(crate) fn is_ahead(self, reservation: &Reservation, now: Timestamp) -> bool {
        reservation.rate.window().is_ahead(self.state, now) || self.reserved.is_ahead(now)
    }

    /// Returns whether there is room for a request that reserves `amount`. A lone request is admitted
    /// while anything is left, whatever it reserves; one beside others only if all of them fit. So at
    /// most one request goes past the limit, and none past a hard one.
    pub(crate) fn admits(self, reservation: &Reservation, now: Timestamp, amount: u64) -> bool {
        let limit = u128::from(reservation.limit);
        let others = u128::from(self.reserved.total());
        let used = u128::from(reservation.rate.window().used(self.state, now));
        let taken = used.saturating_add(others);
        let may_exceed = others == 0 && !reservation.is_hard;
        taken < limit && (may_exceed || taken.saturating_add(amount.into()) <= limit)
    }

    /// Returns how the counter stands for a request that it admits.
    pub(crate) fn standing(self, reservation: &Reservation, now: Timestamp) -> Standing {
        let window = reservation.rate.window();
        Standing {
            limit: reservation.limit,
            used: window.used(self.state, now),
            reserved: self.reserved.total(),
            resets_at: window.resets_at(self.state, now, reservation.limit),
        }
    }

    /// Returns how the counter stands for a request that it rejects. If only requests in flight are in
    /// the way, there may be room as soon as one of them is settled, which may be at any time.
    pub(crate) fn rejection(self, reservation: &Reservation, now: Timestamp) -> Standing {
        let window = reservation.rate.window();
        // What is used then leaves room for a token or, at a hard limit, for all that is reserved.
        let room = if reservation.is_hard {
            reservation.amount.max(1)
        } else {
            1
        };
        Standing {
            resets_at: window.fits_at(self.state, now, reservation.limit, room),
            ..self.standing(reservation, now)
        }
    }

    /// Makes a reservation and sets its generation. A reservation is a hit: it begins a window.
    pub(crate) fn reserve(
        &mut self,
        reservation: &mut Reservation,
        now: Timestamp,
        lifetime: Nanos,
    ) {
        self.state = reservation.rate.window().add(self.state, now, 0);
        reservation.generation = self.reserved.reserve(now, lifetime, reservation.amount);
    }

    /// Releases a reservation and adds a cost. The cost counts from now: that of a request which
    /// outlasts its window counts in the next. If the request was charged before, its charge becomes
    /// the cost: more is added now, less is taken back from the window in which it was added.
    pub(crate) fn settle(&mut self, reservation: &Reservation, now: Timestamp, cost: u64) {
        let window = reservation.rate.window();
        let charged = match reservation.charged {
            None => {
                self.reserved
                    .release(reservation.generation, reservation.amount);
                0
            }
            Some(Charged {
                cost: charged,
                state,
            }) => {
                let excess = charged.saturating_sub(cost);
                self.state = window.take_back(self.state, state, excess, reservation.limit);
                charged
            }
        };
        let missing = cost.saturating_sub(charged);
        if missing > 0 {
            self.state = window.add(self.state, now, missing);
        }
    }

    /// Takes back what is used, at most the amount, and leaves what is reserved. Returns how much it was.
    pub(crate) fn credit(&mut self, reservation: &Reservation, now: Timestamp, amount: u64) -> u64 {
        let window = reservation.rate.window();
        let before = window.used(self.state, now);
        self.state = window.credit(self.state, now, amount);
        before.saturating_sub(window.used(self.state, now))
    }

    /// Returns the instant from which the counter need not be kept; `now` or earlier if it need not be
    /// kept already.
    pub(crate) fn expires(self, reservation: &Reservation, now: Timestamp) -> Timestamp {
        let window = reservation.rate.window();
        let expires_at = self.reserved.expires_at();
        if window.used(self.state, now) == 0 {
            expires_at
        } else {
            expires_at.max(window.resets_at(self.state, now, reservation.limit))
        }
    }

    /// Returns what orders the counters of a rate when one has to be evicted.
    pub(crate) fn size(self, window: Window, now: Timestamp) -> u64 {
        let used = window.used(self.state, now);
        used.saturating_add(self.reserved.total())
    }

    /// Returns a counter that reads at least as high as either, for as long as either.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            state: self.state.max(other.state),
            reserved: self.reserved.max(other.reserved),
        }
    }
}
