//! Settlements: reports usage to a service until the service has it.
//!
//! A settlement is sent at once if there is room for a call. Otherwise it waits in the queue, where the amounts
//! of one descriptor set are one settlement: a service that is slow is called less often, not piled upon.

use super::call::Call;
use super::credits::Credits;
use super::descriptors::DescriptorSet;
use super::link::{CallError, Link};
use super::message::ReservationId;
use super::observer::ServiceEvent;
use super::queue::{Placement, Settlement, SettlementQueue};
use super::releases::Releases;
use super::transport::{CallId, Metadata};
use crate::time::Timestamp;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// The most settlement calls under way. More would not be served sooner by a service that is slow, and would use
/// up what Envoy allows the cluster of it (1,024 requests by default), on which the checks of requests depend.
pub(super) const MAX_CALLS: usize = 64;

/// The most that one message can add.
pub(super) const PART: u64 = u32::MAX as u64;

/// The most that one exchange is believed to have used: more than any model
/// generates, and 274 dollars in billionths.
const MAX_AMOUNT: u64 = 64 * PART;

/// The settlements of a service: those in the queue, and those under way.
pub(super) struct Settlements {
    pub(super) link: Rc<Link>,
    pub(super) queue: RefCell<SettlementQueue>,
    pub(super) calls: RefCell<HashMap<CallId, Call>>,
    pub(super) releases: RefCell<Releases>,
    pub(super) credits: RefCell<Credits>,
    /// Whether the service drops amounts that exceed the limit: it may not have counted an excess.
    pub(super) drops_excess: Cell<bool>,
    /// Whether a settlement was ever merged with another.
    has_merged: Cell<bool>,
    /// Whether Envoy has not made a call, so that none is made before the next reply or tick.
    pub(super) is_saturated: Cell<bool>,
    /// Whether something waits for room for a call.
    pub(super) has_backlog: Cell<bool>,
}

// === impl Settlements ===

impl Settlements {
    pub(super) fn new(link: Rc<Link>) -> Self {
        let queue = SettlementQueue::new(link.settings.queue);
        Self {
            link,
            queue: RefCell::new(queue),
            calls: RefCell::default(),
            releases: RefCell::default(),
            credits: RefCell::default(),
            drops_excess: Cell::new(false),
            has_merged: Cell::new(false),
            is_saturated: Cell::new(false),
            has_backlog: Cell::new(false),
        }
    }

    /// Reports what an exchange used, and releases its reservation.
    pub(super) fn settle(
        &self,
        now: Timestamp,
        descriptors: &Rc<DescriptorSet>,
        reservation: Option<ReservationId>,
        amount: u64,
        metadata: &Metadata,
    ) {
        let amount = self.credits.borrow_mut().reduce(now, descriptors, amount);
        let settlement = self.capped(Settlement::new(Rc::clone(descriptors), amount, now));
        let flush_interval = self.link.settings.flush_interval;
        let can_send = self.has_room() && !self.link.is_open();
        match reservation {
            Some(id) if can_send => return self.commit(now, settlement, id, metadata),
            Some(id) => self.release_later(now, descriptors, id),
            None => {}
        }
        // A report of nothing would count as 1.
        if amount == 0 {
            return;
        }
        if can_send && flush_interval.is_zero() {
            self.report(now, settlement, metadata);
        } else {
            self.has_backlog
                .set(self.has_backlog.get() || !self.has_room());
            let due = now.saturating_add(flush_interval);
            self.enqueue(settlement, |queue, settlement| queue.add(settlement, due));
        }
    }

    /// Takes an excess off what is queued for the same counters, and the rest off what is settled next; in neither
    /// case off usage of the next window. A service that drops an excess may not have counted it.
    pub(super) fn credit(
        &self,
        now: Timestamp,
        descriptors: &Rc<DescriptorSet>,
        excess: u64,
        until: Timestamp,
    ) {
        if excess == 0 || self.drops_excess.get() {
            return;
        }
        let excess = excess.min(MAX_AMOUNT);
        let rest = self.queue.borrow_mut().reduce(descriptors, excess, until);
        self.observe_pending();
        if rest > 0 {
            let mut credits = self.credits.borrow_mut();
            credits.add(now, descriptors, rest, until);
        }
    }

    /// Returns whether the queue is empty, and no settlement is under way.
    pub(super) fn is_drained(&self) -> bool {
        self.queue.borrow().is_empty() && self.calls.borrow().is_empty()
    }

    /// Hands everything that waits to another client of the same service.
    pub(super) fn hand_over(&self, now: Timestamp, successor: &Self) {
        let waiting = self.queue.borrow_mut().take_all();
        for (settlement, due) in waiting {
            successor.enqueue(settlement, |queue, settlement| queue.add(settlement, due));
        }
        for (since, descriptors, id) in self.releases.borrow_mut().take_all() {
            successor.release_later(since, &descriptors, id);
        }
        let mut credits = successor.credits.borrow_mut();
        for (descriptors, amount, until) in self.credits.borrow_mut().take_all() {
            credits.add(now, &descriptors, amount, until);
        }
        self.observe_pending();
    }

    /// Queues the settlements under way: no reply is awaited any longer.
    pub(super) fn fail_calls(&self, now: Timestamp) {
        let calls: Vec<Call> = self.calls.borrow_mut().drain().map(|(_, it)| it).collect();
        self.link.ended(calls.len());
        for call in calls {
            self.retry(now, call.into_settlement());
        }
    }

    /// Gives up everything that waits.
    pub(super) fn lose_all(&self, reason: &str) {
        let waiting = self.queue.borrow_mut().take_all();
        for (settlement, _) in &waiting {
            self.lose(settlement, reason);
        }
        self.observe_pending();
    }

    /// Queues a settlement as it is, because Envoy makes no call at the moment.
    pub(super) fn postpone(&self, now: Timestamp, settlement: Settlement) {
        self.is_saturated.set(true);
        self.has_backlog.set(true);
        if settlement.amount > 0 {
            self.enqueue(settlement, |queue, settlement| queue.add(settlement, now));
        }
    }

    /// Queues usage, and the release of its reservation.
    pub(super) fn settle_later(
        &self,
        now: Timestamp,
        descriptors: &Rc<DescriptorSet>,
        id: ReservationId,
        amount: u64,
    ) {
        self.release_later(now, descriptors, id);
        if amount > 0 {
            let settlement = Settlement::new(Rc::clone(descriptors), amount, now);
            self.enqueue(settlement, |queue, settlement| queue.add(settlement, now));
        }
    }

    /// Queues a settlement whose sending has failed.
    pub(super) fn retry_after(
        &self,
        now: Timestamp,
        sent: Timestamp,
        settlement: Settlement,
        error: &CallError,
    ) {
        self.failed(now, sent, error);
        self.retry(now, settlement);
    }

    fn retry(&self, now: Timestamp, settlement: Settlement) {
        // It was only to release a reservation, which expires.
        if settlement.amount == 0 {
            return;
        }
        self.link.observe(ServiceEvent::SettlementRetried);
        let random = self.link.random();
        self.enqueue(settlement, |queue, settlement| {
            queue.retry(settlement, now, random)
        });
    }

    /// Releases a reservation when there is room for a call.
    pub(super) fn release_later(
        &self,
        now: Timestamp,
        descriptors: &Rc<DescriptorSet>,
        id: ReservationId,
    ) {
        self.has_backlog.set(true);
        self.releases.borrow_mut().add(now, descriptors, id);
    }

    pub(super) fn enqueue(
        &self,
        settlement: Settlement,
        add: impl FnOnce(&mut SettlementQueue, Settlement) -> Placement,
    ) {
        let lost = settlement.clone();
        let placement = add(&mut self.queue.borrow_mut(), settlement);
        self.observe_pending();
        match placement {
            Placement::Queued => {}
            Placement::Merged => {
                self.link.observe(ServiceEvent::SettlementMerged);
                if !self.has_merged.replace(true) {
                    log::warn!(
                        "settlements_merged cluster={} msg=\"the queue is full, usage is charged to \
                         other callers of the same limits\"",
                        self.link.settings.cluster,
                    );
                }
            }
            Placement::Dropped => self.lose(&lost, "the queue is full"),
        }
    }

    /// Returns the settlement of one exchange, of at most what that is believed to use. A larger one would take
    /// messages in proportion; the rest is given up.
    fn capped(&self, mut settlement: Settlement) -> Settlement {
        if settlement.amount > MAX_AMOUNT {
            let mut rest = settlement.clone();
            rest.amount = settlement.amount.saturating_sub(MAX_AMOUNT);
            settlement.amount = MAX_AMOUNT;
            self.lose(&rest, "more than one exchange can use");
        }
        settlement
    }

    /// Gives up a settlement.
    pub(super) fn lose(&self, settlement: &Settlement, reason: &str) {
        let amount = settlement.amount;
        self.link.observe(ServiceEvent::SettlementLost { amount });
        log::error!(
            "settlements_lost cluster={} domain={:?} amount={amount} reason={reason:?}",
            self.link.settings.cluster,
            settlement.descriptors.domain,
        );
    }

    pub(super) fn observe_pending(&self) {
        let pending = self.queue.borrow().len();
        self.link.observe(ServiceEvent::SettlementsPending(pending));
    }
}
