//! A lease: a slice of a limit that a worker has reserved at a service, and admits requests from without a call.
//!
//! A slice has an amount that the service has granted. What requests in flight hold and what settled exchanges have used
//! of it never exceeds that amount, so that the service's own arithmetic remains right: it sees the whole slice as
//! reserved. A slice ends with one `Commit` of what was used. One that is in use is replaced: the next slice is reserved
//! first, with what requests in flight still hold, and then the former is committed.

use super::descriptors::DescriptorSet;
use super::message::ReservationId;
use super::settings::LeaseUnit;
use crate::time::{Nanos, Timestamp};
use std::rc::Rc;

/// How many lifetimes of a slice the service keeps its reservation: requests in flight stay reserved until the next
/// slice has been granted, however late its reply is.
const SERVICE_LIFETIMES: u64 = 2;

/// A slice is replaced when what is left of its lifetime is the lifetime divided by this.
const LEAD: u64 = 5;

/// A slice ends before its window by its lifetime divided by this: what was used is committed in the window in which it
/// was used.
const WINDOW_LEAD: u64 = 10;

/// A new slice has to last for its lifetime divided by this. That is longer than both leads, or a slice would be replaced
/// as soon as it is granted.
const MIN_LIFETIME: u64 = 3;

/// The minimum number of requests that a slice has to admit to be replaced: two calls for one request save none.
const MIN_ADMISSIONS: u32 = 2;

/// The delay of the next `Reserve` after one without a grant. It doubles with each, up to eight times.
const RETRY: Nanos = Nanos::SECOND;

/// How long after that delay a lease without a grant is forgotten.
const FORGET: Nanos = Nanos::from_secs(10);

/// The lease of one limit's counters.
#[derive(Debug)]
pub(super) struct Lease {
    /// The counters.
    pub(super) descriptors: Rc<DescriptorSet>,
    /// What they count.
    pub(super) unit: LeaseUnit,
    slice: Option<Slice>,
    /// The `Reserve` under way.
    renewal: Option<Renewal>,
    plan: SlicePlan,
    retry_at: Timestamp,
    failures: u32,
}

/// The next slice, as the latest request plans it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SlicePlan {
    /// The amount for new requests; 0 for no slice.
    pub(super) amount: u64,
    /// When the window ends, as far as is known.
    pub(super) window_ends: Timestamp,
}

/// A part of a limit that the service has granted.
#[derive(Debug)]
pub(super) struct Slice {
    /// What identifies it among those that requests hold a part of. A slice that replaces another has the same.
    generation: u64,
    reservation: ReservationId,
    granted: u64,
    used: u64,
    held: u64,
    term: Term,
    admissions: u32,
}

/// How long a slice lasts.
#[derive(Clone, Copy, Debug)]
struct Term {
    /// When its `Reserve` was sent.
    sent: Timestamp,
    /// Until when it admits requests. One that is only to keep what requests in flight hold admits none.
    admits_until: Timestamp,
    /// When it is to be replaced or committed.
    ends: Timestamp,
}

/// A `Reserve` under way.
#[derive(Clone, Copy, Debug)]
struct Renewal {
    number: u64,
    amount: u64,
    term: Term,
}

/// The call that a lease needs next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The amount is to be reserved, by a call with the number of the moment.
    Reserve(u64),
    /// The usage is to be committed, which releases the reservation.
    Commit(Ended),
}

/// A slice that is to be committed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) reservation: ReservationId,
    pub(super) used: u64,
}

/// When a lease is advanced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Timestamp,
    /// How long a worker admits requests from a slice.
    pub(super) ttl: Nanos,
    /// A number that no call has had.
    pub(super) number: u64,
    /// Whether a slice may be reserved.
    pub(super) may_reserve: bool,
    /// Whether a request has come to a busy counter.
    pub(super) is_wanted: bool,
    /// Whether leases are to end.
    pub(super) is_ending: bool,
}

/// Returns how long the service is to keep the reservation of a slice.
pub(super) const fn service_ttl(ttl: Nanos) -> Nanos {
    ttl.saturating_mul(SERVICE_LIFETIMES)
}

// === impl Lease ===

impl Lease {
    /// Returns a lease without a slice.
    pub(super) fn new(descriptors: Rc<DescriptorSet>, unit: LeaseUnit) -> Self {
        Self {
            descriptors,
            unit,
            slice: None,
            renewal: None,
            plan: SlicePlan::default(),
            retry_at: Timestamp::EPOCH,
            failures: 0,
        }
    }

    /// Plans the next slice.
    pub(super) const fn plan(&mut self, plan: SlicePlan) {
        self.plan = plan;
    }

    /// Returns whether the next slice is to have an amount for new requests.
    const fn is_planned(&self, moment: Moment) -> bool {
        let Moment { now, ttl, .. } = moment;
        let left = self.plan.window_ends.since(now);
        self.plan.amount > 0 && left.as_u64() >= ttl.as_u64() / MIN_LIFETIME
    }

    /// Returns the granted amount.
    pub(super) fn granted(&self) -> u64 {
        self.slice.as_ref().map_or(0, |slice| slice.granted)
    }

    /// Returns whether it can be forgotten: it has no slice, no call is under way, and the next is not delayed.
    pub(super) fn is_idle(&self, now: Timestamp) -> bool {
        let is_forgotten = self.failures == 0 || now >= self.retry_at.saturating_add(FORGET);
        !self.is_live() && is_forgotten
    }

    /// Returns whether it has a slice, or a call is under way that may bring one.
    pub(super) const fn is_live(&self) -> bool {
        self.slice.is_some() || self.renewal.is_some()
    }

    /// Returns whether its slice admits no requests any more.
    #[cfg(test)]
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        let slice = self.slice.as_ref();
        slice.is_some_and(|slice| now >= slice.term.admits_until)
    }

    /// Takes as much of an amount as there is room for in the slice, if it is of this generation. Returns the generation
    /// of the slice and the amount taken.
    pub(super) fn hold(
        &mut self,
        now: Timestamp,
        generation: Option<u64>,
        amount: u64,
    ) -> Option<(u64, u64)> {
        let most = self.renewal.map_or(u64::MAX, |renewal| renewal.amount);
        let slice = self.slice.as_mut()?;
        if generation.is_some_and(|generation| generation != slice.generation) {
            return None;
        }
        if now < slice.term.sent || now >= slice.term.admits_until {
            return None;
        }
        // The next slice must have room for all that is held when it replaces this one.
        let room = slice.room().min(most.saturating_sub(slice.held));
        let held = amount.min(room);
        if held == 0 {
            return None;
        }
        slice.held = slice.held.saturating_add(held);
        slice.admissions = slice.admissions.saturating_add(1);
        Some((slice.generation, held))
    }

    /// Releases what an exchange held, and adds its cost as far as there is room for it. Returns the rest of the cost.
    pub(super) fn settle(&mut self, generation: u64, held: u64, cost: u64) -> u64 {
        let Some(slice) = self.slice_of(generation) else {
            return cost;
        };
        slice.held = slice.held.saturating_sub(held);
        let covered = cost.min(slice.room());
        slice.used = slice.used.saturating_add(covered);
        cost.saturating_sub(covered)
    }

    /// Takes an excess off what was used. Returns the rest of it.
    pub(super) fn credit(&mut self, generation: u64, excess: u64) -> u64 {
        let Some(slice) = self.slice_of(generation) else {
            return excess;
        };
        let taken = excess.min(slice.used);
        slice.used = slice.used.saturating_sub(taken);
        excess.saturating_sub(taken)
    }

    fn slice_of(&mut self, generation: u64) -> Option<&mut Slice> {
        let slice = self.slice.as_mut();
        slice.filter(|slice| slice.generation == generation)
    }

    /// Returns the call that is due, if any. A `Commit` has ended the slice; a `Reserve` is under way from now on.
    pub(super) fn advance(&mut self, moment: Moment) -> Option<Step> {
        let Moment {
            now,
            ttl,
            is_ending,
            ..
        } = moment;
        let may_reserve = moment.may_reserve && !is_ending && now >= self.retry_at;
        let is_planned = self.is_planned(moment);
        let Some(slice) = &self.slice else {
            let is_due = moment.is_wanted && is_planned && self.renewal.is_none();
            return (may_reserve && is_due).then(|| self.reserve(moment, 0, self.plan.amount));
        };
        let Term {
            sent,
            admits_until,
            ends,
        } = slice.term;
        if now >= sent.saturating_add(service_ttl(ttl)) {
            // The service has released it, and with it what requests in flight hold.
            return self.end().map(Step::Commit);
        }
        if self.renewal.is_some() {
            return None;
        }
        let admits = admits_until > sent;
        let is_over = is_ending || now >= ends;
        let lead = Nanos::new(ttl.as_u64() / LEAD);
        let is_due = is_over || now.saturating_add(lead) >= ends || slice.is_mostly_used();
        let is_wanted = if admits {
            is_due && slice.admissions >= MIN_ADMISSIONS
        } else {
            moment.is_wanted
        };
        let next = if is_wanted && is_planned {
            self.plan.amount
        } else {
            0
        };
        if may_reserve && (next > 0 || is_over && slice.held > 0) {
            let held = slice.held;
            return Some(self.reserve(moment, held, next));
        }
        // Without a grant, what requests in flight hold stays reserved until they end.
        if is_over && slice.held == 0 {
            return self.end().map(Step::Commit);
        }
        None
    }

    fn reserve(&mut self, moment: Moment, held: u64, next: u64) -> Step {
        let Moment {
            now, ttl, number, ..
        } = moment;
        let window_lead = Nanos::new(ttl.as_u64() / WINDOW_LEAD);
        let window_ends = self.plan.window_ends.saturating_sub(window_lead);
        let ends = now.saturating_add(ttl);
        let term = if next > 0 {
            let ends = ends.min(window_ends);
            Term {
                sent: now,
                admits_until: ends,
                ends,
            }
        } else {
            Term {
                sent: now,
                admits_until: now,
                ends,
            }
        };
        let amount = held.saturating_add(next);
        self.renewal = Some(Renewal {
            number,
            amount,
            term,
        });
        Step::Reserve(amount)
    }

    /// Takes the grant of a call, which replaces the slice. Returns what is to be committed: the former slice, or the
    /// granted one if the lease no longer waits for the call.
    pub(super) fn grant(&mut self, number: u64, reservation: ReservationId) -> Option<Ended> {
        let Some(renewal) = self.take_renewal(number) else {
            return Some(Ended {
                reservation,
                used: 0,
            });
        };
        self.failures = 0;
        let former = self.slice.take();
        self.slice = Some(Slice {
            generation: former.as_ref().map_or(number, |it| it.generation),
            reservation,
            granted: renewal.amount,
            used: 0,
            held: former.as_ref().map_or(0, |it| it.held),
            term: renewal.term,
            admissions: 0,
        });
        former.map(Slice::into_ended)
    }

    /// Records that a call has granted nothing.
    pub(super) fn deny(&mut self, now: Timestamp, number: u64) {
        if self.take_renewal(number).is_some() {
            let factor = 1_u64.checked_shl(self.failures.min(3)).unwrap_or(1);
            let delay = RETRY.saturating_mul(factor);
            self.failures = self.failures.saturating_add(1);
            self.retry_at = now.saturating_add(delay);
        }
    }

    fn take_renewal(&mut self, number: u64) -> Option<Renewal> {
        self.renewal.take_if(|renewal| renewal.number == number)
    }

    /// Ends the slice. Returns what is to be committed.
    pub(super) fn end(&mut self) -> Option<Ended> {
        self.slice.take().map(Slice::into_ended)
    }

    /// Ends everything at once, because the clock has stepped back or another client takes over.
    pub(super) fn reset(&mut self) -> Option<Ended> {
        self.renewal = None;
        self.failures = 0;
        self.retry_at = Timestamp::EPOCH;
        self.end()
    }
}

// === impl Slice ===

impl Slice {
    /// Returns what is neither used nor held.
    const fn room(&self) -> u64 {
        self.granted
            .saturating_sub(self.used)
            .saturating_sub(self.held)
    }

    /// Returns whether more than three quarters are used or held.
    const fn is_mostly_used(&self) -> bool {
        self.room() < self.granted / 4
    }

    fn into_ended(self) -> Ended {
        Ended {
            reservation: self.reservation,
            used: self.used,
        }
    }
}
