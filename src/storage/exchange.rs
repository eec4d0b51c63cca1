//! One request before its counters: what is done to a page when it is admitted, and when it is
//! settled.

use super::counter::Counter;
use super::holds::Ticket;
use super::page::{Page, Stored};
use super::{Claim, Standing, Verdict};

/// A request that is being admitted.
pub(super) struct Admission<'a> {
    pub(super) now: u64,
    pub(super) lifetime: u64,
    pub(super) claims: &'a [Claim<'a>],
    pub(super) tickets: &'a mut [Ticket],
    pub(super) standings: &'a mut [Standing],
    /// The claim that was refused; of several, the one that waits longest.
    pub(super) denied: Option<usize>,
}

/// A request that is being settled.
pub(super) struct Settlement<'a> {
    pub(super) now: u64,
    pub(super) claims: &'a [Claim<'a>],
    pub(super) tickets: &'a [Ticket],
    pub(super) costs: &'a [u64],
}

// === impl Admission ===

impl Admission<'_> {
    /// Finds how the claims on a page stand, and whether one is refused.
    pub(super) fn judge<'b>(
        &mut self,
        claims: impl Iterator<Item = (usize, &'b Claim<'b>)>,
        page: &mut Page,
    ) {
        for (position, claim) in claims {
            let counter = page.counter(claim, self.now);
            let admitted = counter.admits(claim, self.now, self.hold_up_to(position, claim));
            let standing = if admitted {
                counter.standing(claim, self.now)
            } else {
                counter.refusal(claim, self.now)
            };
            if !admitted && self.waits_longest(standing) {
                self.denied = Some(position);
            }
            if let Some(slot) = self.standings.get_mut(position) {
                *slot = standing;
            }
        }
    }

    /// What is asked of a claim's counter by that claim and those before it.
    fn hold_up_to(&self, position: usize, claim: &Claim<'_>) -> u64 {
        let mut hold = claim.hold;
        for other in self.claims.iter().take(position) {
            if other.same_counter(claim) {
                hold = hold.saturating_add(other.hold);
            }
        }
        hold
    }

    fn waits_longest(&self, standing: Standing) -> bool {
        let denied = self.denied.and_then(|denied| self.standings.get(denied));
        denied.is_none_or(|denied| denied.resets_at < standing.resets_at)
    }

    pub(super) fn hold(&mut self, position: usize, claim: &Claim<'_>, page: &mut Page) -> Stored {
        if claim.hold == 0 {
            return Stored::Kept;
        }
        let mut counter = page.counter(claim, self.now);
        let ticket = counter.hold(claim, self.now, self.lifetime);
        if let Some(slot) = self.tickets.get_mut(position) {
            *slot = ticket;
        }
        page.store(claim, counter, self.now)
    }

    /// The settlement that undoes the admission.
    pub(super) fn given_back(&self) -> Settlement<'_> {
        Settlement {
            now: self.now,
            claims: self.claims,
            tickets: self.tickets,
            costs: &[],
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        match self.denied {
            None => Verdict::Admitted,
            Some(claim) => Verdict::Denied {
                claim,
                standing: self.standings.get(claim).copied().unwrap_or_default(),
            },
        }
    }
}

// === impl Settlement ===

impl Settlement<'_> {
    /// Settles a claim on its page, and gives its counter after that.
    pub(super) fn settle(
        &self,
        position: usize,
        claim: &Claim<'_>,
        page: &mut Page,
    ) -> (Counter, Stored) {
        let ticket = self.tickets.get(position).copied().unwrap_or_default();
        let cost = self.costs.get(position).copied().unwrap_or_default();
        let mut counter = page.counter(claim, self.now);
        if cost == 0 && claim.hold == 0 {
            return (counter, Stored::Kept);
        }
        counter.settle(claim, self.now, ticket, cost);
        let stored = page.store(claim, counter, self.now);
        (counter, stored)
    }
}
