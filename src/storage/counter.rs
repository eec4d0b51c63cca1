//! One counter: what is used, what is held, and whether there is room for a request.

use super::holds::{Holds, Ticket};
use super::window::{State, Window};
use super::{Claim, Standing};

/// A counter. The default has nothing used and nothing held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counter {
    pub(super) state: State,
    pub(super) holds: Holds,
}

// === impl Counter ===

impl Counter {
    /// The counter as of `now`. One that nothing is used or held of is as good as new: its window
    /// begins with the next hit.
    pub(super) fn advance(self, claim: &Claim<'_>, now: u64) -> Self {
        let window = claim.rate.window;
        let state = window.advance(self.state, now, claim.limit);
        let holds = self.holds.advance(now);
        if window.used(state, now) == 0 && holds.total() == 0 {
            return Self::default();
        }
        Self { state, holds }
    }

    /// The counter of somebody who has not been seen in this window, made from one that reads at
    /// least as high as his: what he uses counts for a whole window from now.
    pub(super) fn renewed(self, claim: &Claim<'_>, now: u64) -> Self {
        Self {
            state: claim.rate.window.renew(self.state, now),
            ..self
        }
    }

    /// Whether a clock has written the counter that was ahead of this one.
    pub(super) fn is_ahead(self, claim: &Claim<'_>, now: u64) -> bool {
        claim.rate.window.is_ahead(self.state, now) || self.holds.is_ahead(now)
    }

    /// Whether there is room for a request that asks for `hold`. A lone request gets in while
    /// anything is left, whatever it asks for; one beside others only as far as all fit: at most
    /// one request ends past the limit.
    pub(super) fn admits(self, claim: &Claim<'_>, now: u64, hold: u64) -> bool {
        let limit = u128::from(claim.limit);
        let others = u128::from(self.holds.total());
        let taken = u128::from(claim.rate.window.used(self.state, now)).saturating_add(others);
        taken < limit && (others == 0 || taken.saturating_add(hold.into()) <= limit)
    }

    /// How the counter stands, for one whose claim it admits.
    pub(super) fn standing(self, claim: &Claim<'_>, now: u64) -> Standing {
        let window = claim.rate.window;
        Standing {
            limit: claim.limit,
            used: window.used(self.state, now),
            held: self.holds.total(),
            resets_at: window.resets_at(self.state, now, claim.limit),
        }
    }

    /// How the counter stands, for one whose claim it refuses. Where only requests in flight are
    /// in the way, there may be room as soon as one of them is settled, which is any time now.
    pub(super) fn refusal(self, claim: &Claim<'_>, now: u64) -> Standing {
        Standing {
            resets_at: claim.rate.window.fits_at(self.state, now, claim.limit),
            ..self.standing(claim, now)
        }
    }

    /// Holds what the claim asks for. A hold is a hit: it begins a window.
    pub(super) fn hold(&mut self, claim: &Claim<'_>, now: u64, lifetime: u64) -> Ticket {
        self.state = claim.rate.window.add(self.state, now, 0);
        self.holds.place(now, lifetime, claim.hold)
    }

    /// Releases what the claim held, and adds what the request cost. What is used counts from when
    /// it is known: of a request that outlasts its window, in the next.
    pub(super) fn settle(&mut self, claim: &Claim<'_>, now: u64, ticket: Ticket, cost: u64) {
        self.holds.release(ticket, claim.hold);
        if cost > 0 {
            self.state = claim.rate.window.add(self.state, now, cost);
        }
    }

    /// The instant from which the counter need not be kept; `now` or before when that is already.
    pub(super) fn expires(self, claim: &Claim<'_>, now: u64) -> u64 {
        let window = claim.rate.window;
        let held = self.holds.forgotten_at();
        if window.used(self.state, now) == 0 {
            held
        } else {
            held.max(window.resets_at(self.state, now, claim.limit))
        }
    }

    /// What orders the counters of a rate when one has to go.
    pub(super) fn size(self, window: Window, now: u64) -> u64 {
        let used = window.used(self.state, now);
        used.saturating_add(self.holds.total())
    }

    /// A counter that reads at least as high as either, for as long.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            state: self.state.max(other.state),
            holds: self.holds.max(other.holds),
        }
    }
}
