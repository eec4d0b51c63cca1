//! The leases of a worker, and what requests in flight hold of them.

use super::descriptors::DescriptorSet;
use super::lease::{Ended, Lease, Moment, SlicePlan, Step};
use super::message::ReservationId;
use super::settings::{LeaseSettings, LeaseUnit};
use crate::time::{Nanos, Timestamp};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem;
use std::rc::Rc;

/// The maximum number of leases. Beyond it no counter gets another until one has ended: those in use are not evicted.
pub(super) const MAX_LEASES: usize = 1024;

/// The maximum bytes of their descriptors, as a caller may have values of any length.
const MAX_BYTES: usize = 1 << 20;

/// The number of counters whose last request is remembered.
const RECENT: usize = 1024;

/// A counter is busy if a request comes within this time after another.
const BUSY: Nanos = Nanos::SECOND;

/// A slice is at most what is left, divided by this: the slices of several workers then fit beside each other, and become
/// smaller towards the limit.
const PART: u64 = 10;

/// The minimum number of requests for which a slice has room.
const MIN_REQUESTS: u64 = 2;

/// What identifies the counters of a limit: a hash of the limit and the values that it counts by.
pub type LeaseId = u128;

/// What a request demands of the counters of one limit.
#[derive(Clone, Copy, Debug)]
pub struct LeaseDemand {
    /// The counters.
    pub id: LeaseId,
    /// What they count.
    pub unit: LeaseUnit,
    /// What the request reserves.
    pub amount: u64,
    /// What is left beside it, as far as is known.
    pub remaining: u64,
    /// When the first of their windows ends, as far as is known.
    pub window_ends: Timestamp,
}

/// The leases of a worker.
#[derive(Debug)]
pub(super) struct Leases {
    settings: LeaseSettings,
    /// Boxed, as the values of the queue by the same keys: the module has the code of one map.
    by_id: BTreeMap<LeaseId, Box<Lease>>,
    /// The bytes of their descriptors.
    bytes: usize,
    /// The counters of recent requests, each in a place that follows from its identity: a flood of others delays the
    /// lease of a counter, and takes no memory.
    recent: Vec<(LeaseId, Timestamp)>,
    /// The number of the next call; none is 0.
    number: u64,
    /// The latest time that was seen.
    latest: Timestamp,
    is_ending: bool,
}

/// A call that a lease needs.
#[derive(Debug)]
pub(super) struct LeaseCall {
    pub(super) id: LeaseId,
    /// Its number, if it is a `Reserve`.
    pub(super) number: u64,
    pub(super) descriptors: Rc<DescriptorSet>,
    pub(super) step: Step,
}

/// What an exchange holds of a lease. It is released when it is dropped.
#[derive(Debug)]
pub struct LeaseHold {
    leases: Rc<RefCell<Leases>>,
    id: LeaseId,
    generation: u64,
    amount: u64,
    descriptors: Rc<DescriptorSet>,
}

// === impl Leases ===

impl Leases {
    pub(super) fn new(settings: LeaseSettings) -> Self {
        Self {
            settings,
            by_id: BTreeMap::new(),
            bytes: 0,
            recent: vec![(0, Timestamp::EPOCH); RECENT],
            number: 1,
            latest: Timestamp::EPOCH,
            is_ending: false,
        }
    }

    /// Returns how long a worker admits requests from a slice.
    pub(super) const fn ttl(&self) -> Nanos {
        self.settings.ttl
    }

    /// Returns whether no lease has a slice or is about to get one.
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.values().all(|lease| !lease.is_live())
    }

    /// Returns whether the slice of a lease admits no requests any more.
    #[cfg(test)]
    pub(super) fn is_over(&self, id: LeaseId, now: Timestamp) -> bool {
        self.by_id.get(&id).is_some_and(|lease| lease.is_over(now))
    }

    /// Returns the tokens of all slices.
    pub(super) fn tokens(&self) -> u64 {
        let tokens = self.by_id.values();
        let tokens = tokens.filter(|lease| lease.unit == LeaseUnit::Tokens);
        tokens.fold(0, |sum, lease| sum.saturating_add(lease.granted()))
    }

    /// Ends leases: none is renewed.
    pub(super) const fn end(&mut self) {
        self.is_ending = true;
    }

    /// Takes as much of a demand as its lease has room for, which can be nothing; `None` without a lease.
    pub(super) fn hold(
        this: &Rc<RefCell<Self>>,
        now: Timestamp,
        demand: &LeaseDemand,
    ) -> Option<LeaseHold> {
        let leases = this.borrow();
        let lease = leases.by_id.get(&demand.id);
        let lease = lease.filter(|lease| lease.is_live() && !leases.is_ending)?;
        let mut hold = LeaseHold {
            leases: Rc::clone(this),
            id: demand.id,
            generation: 0,
            amount: 0,
            descriptors: Rc::clone(&lease.descriptors),
        };
        drop(leases);
        hold.take(now, demand.amount);
        Some(hold)
    }

    /// Records a request. Returns the call that its lease needs; a busy counter without a lease gets one.
    pub(super) fn request(
        &mut self,
        now: Timestamp,
        demand: &LeaseDemand,
        may_reserve: bool,
        descriptors: impl FnOnce() -> Option<DescriptorSet>,
    ) -> Option<LeaseCall> {
        let is_busy = self.is_busy(now, demand.id);
        let plan = SlicePlan {
            amount: self.slice(demand),
            window_ends: demand.window_ends,
        };
        if let Some(lease) = self.by_id.get_mut(&demand.id) {
            lease.plan(plan);
        } else if is_busy && may_reserve && !self.is_ending && plan.amount > 0 {
            let descriptors = descriptors()?;
            if !self.make_room(descriptors.size()) {
                return None;
            }
            self.bytes = self.bytes.saturating_add(descriptors.size());
            let mut lease = Lease::new(Rc::new(descriptors), demand.unit);
            lease.plan(plan);
            self.by_id.insert(demand.id, Box::new(lease));
        }
        self.advance(now, demand.id, may_reserve, is_busy)
    }

    /// Returns whether there is room for a lease with descriptors of this size. A lease without a slice is removed for it.
    fn make_room(&mut self, size: usize) -> bool {
        let has_room = |this: &Self| {
            this.by_id.len() < MAX_LEASES && this.bytes.saturating_add(size) <= MAX_BYTES
        };
        if !has_room(self) {
            let mut leases = self.by_id.iter();
            let denied = leases.find(|(_, lease)| !lease.is_live());
            if let Some(&id) = denied.map(|(id, _)| id)
                && let Some(lease) = self.by_id.remove(&id)
            {
                self.bytes = self.bytes.saturating_sub(lease.descriptors.size());
            }
        }
        has_room(self)
    }

    /// Returns the amount of the next slice for requests like this one; 0 for none.
    fn slice(&self, demand: &LeaseDemand) -> u64 {
        let most = match demand.unit {
            LeaseUnit::Tokens => self.settings.tokens,
            LeaseUnit::Requests => self.settings.requests,
        };
        let amount = most.min(demand.remaining / PART);
        if amount / MIN_REQUESTS >= demand.amount.max(1) {
            amount
        } else {
            0
        }
    }

    /// Records a request to a counter. Returns whether another came shortly before.
    fn is_busy(&mut self, now: Timestamp, id: LeaseId) -> bool {
        let place = id.checked_rem(RECENT as u128);
        let place = place.and_then(|place| usize::try_from(place).ok());
        let Some(recent) = place.and_then(|place| self.recent.get_mut(place)) else {
            return false;
        };
        let (known, at) = mem::replace(recent, (id, now));
        known == id && now.since(at) <= BUSY && at > Timestamp::EPOCH
    }

    /// Returns the call that a lease needs.
    fn advance(
        &mut self,
        now: Timestamp,
        id: LeaseId,
        may_reserve: bool,
        is_wanted: bool,
    ) -> Option<LeaseCall> {
        let number = self.number;
        let lease = self.by_id.get_mut(&id)?;
        let step = lease.advance(Moment {
            now,
            ttl: self.settings.ttl,
            number,
            may_reserve,
            is_wanted,
            is_ending: self.is_ending,
        })?;
        self.number = number.wrapping_add(1);
        Some(LeaseCall {
            id,
            number,
            descriptors: Rc::clone(&lease.descriptors),
            step,
        })
    }

    /// Returns the calls that leases need, and forgets those that are idle.
    pub(super) fn due(&mut self, now: Timestamp, may_reserve: bool) -> Vec<LeaseCall> {
        // What is left of a slice by a clock that stepped back is not what is left by the service's.
        let tolerance = Nanos::new(self.settings.ttl.as_u64() / 2);
        let stepped_back = now.saturating_add(tolerance) < self.latest;
        if stepped_back {
            self.latest = now;
            return self.reset();
        }
        self.latest = self.latest.max(now);
        let ids: Vec<LeaseId> = self.by_id.keys().copied().collect();
        let calls = ids.into_iter();
        let calls = calls.filter_map(|id| self.advance(now, id, may_reserve, false));
        let calls: Vec<LeaseCall> = calls.collect();
        self.by_id.retain(|_, lease| !lease.is_idle(now));
        self.bytes = self.by_id.values().fold(0, |bytes: usize, lease| {
            bytes.saturating_add(lease.descriptors.size())
        });
        calls
    }

    /// Ends all slices, whatever requests in flight hold.
    pub(super) fn reset(&mut self) -> Vec<LeaseCall> {
        let leases = self.by_id.iter_mut();
        let calls = leases.filter_map(|(&id, lease)| {
            let ended = lease.reset()?;
            Some(LeaseCall {
                id,
                number: 0,
                descriptors: Rc::clone(&lease.descriptors),
                step: Step::Commit(ended),
            })
        });
        calls.collect()
    }

    /// Takes the grant of a call. Returns what is to be committed, if the lease is there.
    pub(super) fn grant(
        &mut self,
        id: LeaseId,
        number: u64,
        reservation: ReservationId,
    ) -> Option<Ended> {
        match self.by_id.get_mut(&id) {
            Some(lease) => lease.grant(number, reservation),
            None => Some(Ended {
                reservation,
                used: 0,
            }),
        }
    }

    /// Records that a call has granted nothing.
    pub(super) fn deny(&mut self, now: Timestamp, id: LeaseId, number: u64) {
        if let Some(lease) = self.by_id.get_mut(&id) {
            lease.deny(now, number);
        }
    }
}

// === impl LeaseHold ===

impl LeaseHold {
    /// Returns what is held.
    #[must_use]
    pub const fn amount(&self) -> u64 {
        self.amount
    }

    /// Returns the counters.
    #[must_use]
    pub const fn descriptors(&self) -> &Rc<DescriptorSet> {
        &self.descriptors
    }

    /// Takes as much of an amount, beside what is held, as the lease has room for. Returns how much that is.
    pub fn take(&mut self, now: Timestamp, amount: u64) -> u64 {
        let mut leases = self.leases.borrow_mut();
        let is_ending = leases.is_ending;
        let lease = leases.by_id.get_mut(&self.id).filter(|_| !is_ending);
        let generation = (self.amount > 0).then_some(self.generation);
        let taken = lease.and_then(|lease| lease.hold(now, generation, amount));
        let Some((generation, taken)) = taken else {
            return 0;
        };
        self.generation = generation;
        self.amount = self.amount.saturating_add(taken);
        taken
    }

    /// Releases what is held, and takes a cost from the lease, as far as it has room. Returns the rest of the cost, which
    /// is to be reported.
    #[must_use]
    pub fn settle(&mut self, cost: u64) -> u64 {
        let held = mem::take(&mut self.amount);
        let mut leases = self.leases.borrow_mut();
        match leases.by_id.get_mut(&self.id) {
            Some(lease) => lease.settle(self.generation, held, cost),
            None => cost,
        }
    }

    /// Takes an excess off the usage of the lease that was not committed yet. Returns the rest of it.
    #[must_use]
    pub fn credit(&self, excess: u64) -> u64 {
        let mut leases = self.leases.borrow_mut();
        match leases.by_id.get_mut(&self.id) {
            Some(lease) => lease.credit(self.generation, excess),
            None => excess,
        }
    }
}

impl Drop for LeaseHold {
    fn drop(&mut self) {
        if self.amount > 0 {
            // There is no cost, and no rest of it.
            let _ = self.settle(0);
        }
    }
}
