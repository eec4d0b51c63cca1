//! One request at its counters: what is done to a page when the request reserves and when it settles.

use crate::counter::Counter;
use crate::page::{Page, Stored};
use crate::reservation::{Charged, GenerationId, Reservation, Standing, Verdict};
use crate::time::{Nanos, Timestamp};
use crate::window::State;

/// A reservation with the number of the page that its counter lies on.
pub(super) struct OnPage<'r> {
    pub(super) page: u64,
    pub(super) reservation: &'r mut Reservation,
}

/// A request that is being admitted.
pub(super) struct Admission<'r> {
    now: Timestamp,
    lifetime: Nanos,
    reservations: Vec<OnPage<'r>>,
    rejected: Option<Rejected>,
}

/// The reservation that does not fit; of several, the one with the longest wait.
#[derive(Clone, Copy, Debug)]
struct Rejected {
    index: usize,
    standing: Standing,
}

// === impl Admission ===

impl<'r> Admission<'r> {
    pub(super) fn new(now: Timestamp, lifetime: Nanos, mut reservations: Vec<OnPage<'r>>) -> Self {
        for OnPage { reservation, .. } in &mut reservations {
            reservation.generation = GenerationId::NONE;
            reservation.standing = Standing::UNKNOWN;
        }
        Self {
            now,
            lifetime,
            reservations,
            rejected: None,
        }
    }

    /// Returns the reservations.
    pub(super) fn reservations(&self) -> &[OnPage<'r>] {
        &self.reservations
    }

    /// Finds how the counters of a page stand, and whether one of them has no room.
    pub(super) fn judge(&mut self, page: &mut Page, number: u64) {
        let now = self.now;
        for index in 0..self.reservations.len() {
            if self.reservations.get(index).map(|it| it.page) != Some(number) {
                continue;
            }
            let amount = self.amount_up_to(index);
            let Some(OnPage { reservation, .. }) = self.reservations.get_mut(index) else {
                break;
            };
            let counter = page.counter(reservation, now);
            let admits = counter.admits(reservation, now, amount);
            let standing = if admits {
                counter.standing(reservation, now)
            } else {
                counter.rejection(reservation, now)
            };
            reservation.standing = standing;
            let waits_longest = self
                .rejected
                .is_none_or(|rejected| rejected.standing.resets_at < standing.resets_at);
            if !admits && waits_longest {
                self.rejected = Some(Rejected { index, standing });
            }
        }
    }

    /// Returns what the reservation at an index, and those before it, reserve in its counter.
    fn amount_up_to(&self, index: usize) -> u64 {
        let Some(OnPage { page, reservation }) = self.reservations.get(index) else {
            return 0;
        };
        let earlier = self.reservations.iter().take(index);
        earlier
            .filter(|it| it.page == *page && it.reservation.same_counter(reservation))
            .fold(reservation.amount, |sum, it| {
                sum.saturating_add(it.reservation.amount)
            })
    }

    /// Makes the reservations of a page; `note` is given what storing each counter has met.
    pub(super) fn reserve(&mut self, page: &mut Page, number: u64, note: impl Fn(Stored)) {
        let reservations = self.reservations.iter_mut();
        for OnPage { reservation, .. } in reservations.filter(|it| it.page == number) {
            if reservation.amount > 0 {
                let mut counter = page.counter(reservation, self.now);
                counter.reserve(reservation, self.now, self.lifetime);
                note(page.store(reservation, counter, self.now));
            }
        }
    }

    /// Returns the time of the request.
    pub(super) const fn now(&self) -> Timestamp {
        self.now
    }

    /// Returns whether a counter has no room.
    pub(super) const fn is_rejected(&self) -> bool {
        self.rejected.is_some()
    }

    /// Forgets what was found so far. Returns whether a counter had no room.
    pub(super) fn reconsider(&mut self) -> bool {
        self.rejected.take().is_some()
    }

    pub(super) fn verdict(&self) -> Verdict {
        match self.rejected {
            None => Verdict::Admitted,
            Some(Rejected { index, standing }) => Verdict::Rejected { index, standing },
        }
    }
}

/// Releases a reservation on its page and adds a cost; if that was done before, corrects the cost.
/// Returns the counter after that.
pub(super) fn settle(
    reservation: &Reservation,
    now: Timestamp,
    cost: u64,
    page: &mut Page,
) -> (Counter, Stored) {
    let mut counter = page.counter(reservation, now);
    let changes_nothing = match reservation.charged {
        None => cost == 0 && reservation.amount == 0,
        Some(charged) => cost == charged.cost,
    };
    if changes_nothing {
        return (counter, Stored::Kept);
    }
    counter.settle(reservation, now, cost);
    let stored = page.store(reservation, counter, now);
    (counter, stored)
}

/// Returns what was recorded of a reservation that was settled just now.
pub(super) fn charged(reservation: &Reservation, counter: &Counter) -> Charged {
    let Reservation { cost, charged, .. } = *reservation;
    match charged {
        Some(known) if known.cost == cost => known,
        known => Charged {
            cost,
            state: known.map_or(counter.state, |_| State::default()),
        },
    }
}
