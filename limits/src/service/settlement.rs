//! Settlements: reports usage to a service until the service has it.

use super::credits::Credits;
use super::descriptors::DescriptorSet;
use super::link::{CallError, Link};
use super::message::{self, CommitRequest, RateLimitRequest, Reply, ReservationId};
use super::method::Method;
use super::observer::ServiceEvent;
use super::queue::{Placement, Settlement, SettlementQueue};
use super::settings::Protocol;
use super::transport::{CallId, Metadata};
use crate::time::{Nanos, Timestamp};
use prost::Message;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// The shortest timeout of a settlement. No exchange waits for it, and what times out too early is
/// sent, and may be counted, again.
const MIN_TIMEOUT: Nanos = Nanos::SECOND;

/// The number of settlements sent from the queue in one tick.
const MAX_PER_TICK: usize = 64;

/// The most that one message can add.
const PART: u64 = u32::MAX as u64;

/// The number of parts of one settlement sent in one tick.
const MAX_PARTS_PER_TICK: u64 = 16;

/// The most that one exchange is believed to have used if it is reported in parts: more than any model
/// generates, and 274 dollars in billionths.
const MAX_AMOUNT: u64 = 64 * PART;

/// The settlements of a service: those in the queue, and those under way.
pub(super) struct Settlements {
    link: Rc<Link>,
    queue: RefCell<SettlementQueue>,
    calls: RefCell<HashMap<CallId, Call>>,
    credits: RefCell<Credits>,
    /// Whether the service drops amounts that exceed the limit: it may not have counted an excess.
    drops_excess: Cell<bool>,
    /// Whether a settlement was ever merged with another.
    has_merged: Cell<bool>,
}

/// A call under way.
#[derive(Debug)]
struct Call {
    settlement: Settlement,
    kind: CallKind,
}

#[derive(Clone, Copy, Debug)]
enum CallKind {
    /// Adds the settlement.
    Add { method: Method, sent: Timestamp },
    /// Asks how the counters stand, before a settlement that has failed is sent again.
    Inquiry,
    /// Adds part of a settlement that did not fit, of which less than `room` fits.
    Fill { room: u64 },
}

// === impl Settlements ===

impl Settlements {
    pub(super) fn new(link: Rc<Link>) -> Self {
        let queue = SettlementQueue::new(link.settings.queue);
        Self {
            link,
            queue: RefCell::new(queue),
            calls: RefCell::default(),
            credits: RefCell::default(),
            drops_excess: Cell::new(false),
            has_merged: Cell::new(false),
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
        let settlement = Settlement {
            descriptors: Rc::clone(descriptors),
            amount,
            since: now,
            failures: 0,
        };
        let flush_interval = self.link.settings.flush_interval;
        match reservation {
            Some(ReservationId(reservation_id)) if !self.link.is_open() => {
                let request = CommitRequest {
                    domain: descriptors.domain.to_string(),
                    descriptors: descriptors.descriptors.clone(),
                    reservation_id,
                    actual_amount: amount,
                };
                let message = request.encode_to_vec();
                self.add(now, Method::Commit, &message, metadata, settlement);
            }
            // A report of nothing would count as 1, and a reservation that is not released expires.
            _ if amount == 0 => {}
            _ if self.link.is_open() || !flush_interval.is_zero() => {
                let settlement = self.capped(settlement);
                let due = now.saturating_add(flush_interval);
                self.enqueue(settlement, |queue, settlement| queue.add(settlement, due));
            }
            _ => self.report(now, self.capped(settlement), metadata),
        }
    }

    /// Takes an excess off what is queued for the same counters, and the rest off what is settled next.
    pub(super) fn credit(
        &self,
        now: Timestamp,
        descriptors: &Rc<DescriptorSet>,
        excess: u64,
        until: Timestamp,
    ) {
        let rest = self.queue.borrow_mut().reduce(descriptors, excess);
        self.observe_pending();
        if rest > 0 && !self.drops_excess.get() {
            let mut credits = self.credits.borrow_mut();
            credits.add(now, descriptors, rest.min(MAX_AMOUNT), until);
        }
    }

    /// Sends what is due.
    pub(super) fn send_due(&self, now: Timestamp) {
        let due = self.queue.borrow_mut().take_due(now, MAX_PER_TICK);
        self.send_all(now, due);
    }

    /// Sends everything, due or not. Returns whether nothing is left, and no settlement is under way.
    pub(super) fn drain(&self, now: Timestamp) -> bool {
        self.queue.borrow_mut().make_due(now);
        let all = self.queue.borrow_mut().take_due(now, usize::MAX);
        self.send_all(now, all);
        self.is_drained()
    }

    /// Returns whether the queue is empty, and no settlement is under way.
    pub(super) fn is_drained(&self) -> bool {
        self.queue.borrow().is_empty() && self.calls.borrow().is_empty()
    }

    /// Sends the oldest settlement of the queue as a probe. Returns whether there is one.
    pub(super) fn probe(&self, now: Timestamp) -> bool {
        let oldest = self.queue.borrow_mut().take_oldest();
        let Some(mut oldest) = oldest else {
            return false;
        };
        // The service may be unable to reply, as if sending this had failed.
        oldest.failures = oldest.failures.max(1);
        self.send_all(now, vec![oldest]);
        true
    }

    /// Takes note that the service has replied. If that closes the circuit, the whole queue is due.
    pub(super) fn succeeded(&self, now: Timestamp) {
        if self.link.succeeded() {
            self.on_circuit_closed(now);
        }
    }

    /// Takes note that a call has failed.
    pub(super) fn failed(&self, now: Timestamp, error: &CallError) {
        if self.link.failed(now, error) {
            self.on_circuit_closed(now);
        }
    }

    fn on_circuit_closed(&self, now: Timestamp) {
        log::info!(
            "storage_circuit_closed cluster={} pending={}",
            self.link.settings.cluster,
            self.queue.borrow().len(),
        );
        self.queue.borrow_mut().make_due(now);
    }

    /// Takes the reply to a call: its message, or the status of its failure. Returns whether the call is
    /// one of these.
    pub(super) fn on_reply(&self, now: Timestamp, id: CallId, reply: Result<&[u8], u32>) -> bool {
        let Some(Call { settlement, kind }) = self.calls.borrow_mut().remove(&id) else {
            return false;
        };
        let reply = reply.map_err(CallError::Status);
        match kind {
            CallKind::Add { method, sent } => {
                self.on_added(now, settlement, method, now.since(sent), reply);
            }
            CallKind::Inquiry => self.on_inquired(now, settlement, reply),
            CallKind::Fill { room } => self.on_filled(now, settlement, room, reply),
        }
        true
    }

    fn on_added(
        &self,
        now: Timestamp,
        settlement: Settlement,
        method: Method,
        took: Nanos,
        reply: Result<&[u8], CallError>,
    ) {
        let reply = reply.and_then(|message| match method {
            Method::Commit => Ok(message::read_commit(message).map(|()| Reply::default())?),
            _ => Ok(message::read_check(message)?),
        });
        match reply {
            Ok(reply) => {
                if took.as_millis() > self.link.settings.timeout.as_millis() {
                    // It is settled; but a check would not have waited for the reply.
                    self.failed(now, &CallError::Late(took.as_millis()));
                } else {
                    self.succeeded(now);
                }
                if method == Method::ShouldRateLimit && has_not_added(&reply) {
                    let room = settlement.amount;
                    self.fill(now, settlement, room);
                }
            }
            Err(error) => self.retry_after(now, settlement, &error),
        }
    }

    fn on_filled(
        &self,
        now: Timestamp,
        mut settlement: Settlement,
        room: u64,
        reply: Result<&[u8], CallError>,
    ) {
        match reply.and_then(|message| Ok(message::read_check(message)?)) {
            Ok(reply) => {
                self.succeeded(now);
                let part = settlement.amount;
                let room = if has_not_added(&reply) {
                    part
                } else {
                    room.saturating_sub(part)
                };
                self.fill(now, settlement, room);
            }
            Err(error) => {
                settlement.amount = room;
                self.retry_after(now, settlement, &error);
            }
        }
    }

    fn on_inquired(&self, now: Timestamp, settlement: Settlement, reply: Result<&[u8], CallError>) {
        match reply.and_then(|message| Ok(message::read_check(message)?)) {
            Ok(_) => {
                self.succeeded(now);
                self.report(now, settlement, &Metadata::new());
            }
            Err(error) => self.retry_after(now, settlement, &error),
        }
    }

    /// Sends settlements from the queue, except those that are too old.
    fn send_all(&self, now: Timestamp, settlements: Vec<Settlement>) {
        for settlement in settlements {
            if settlement.is_stale(now) {
                self.lose(&settlement, "not confirmed within a day");
            } else if settlement.failures > 0 && self.link.settings.protocol != Protocol::EnvoyRls {
                self.inquire(now, settlement);
            } else {
                self.report(now, settlement, &Metadata::new());
            }
        }
        self.observe_pending();
    }

    /// Asks how the counters of a settlement stand whose sending has failed. It is sent again when there
    /// is a reply. A settlement whose reply does not arrive in time may have had its effect, and would
    /// have it again each time; an inquiry has none. Services of Envoy's protocol may count it, too.
    fn inquire(&self, now: Timestamp, settlement: Settlement) {
        let message = addition(&settlement.descriptors, 0);
        let timeout = self.link.settings.timeout;
        let id = self
            .link
            .call(Method::Check, &message, &Metadata::new(), timeout);
        self.track(now, id, CallKind::Inquiry, settlement);
    }

    /// Adds a settlement to the counters; in parts, if one message cannot add it.
    fn report(&self, now: Timestamp, mut settlement: Settlement, metadata: &Metadata) {
        for _ in 0..MAX_PARTS_PER_TICK {
            let mut part = settlement.clone();
            part.amount = settlement.amount.min(PART);
            settlement.amount = settlement.amount.saturating_sub(PART);
            self.report_part(now, part, metadata);
            if settlement.amount == 0 {
                return;
            }
        }
        self.enqueue(settlement, |queue, settlement| queue.add(settlement, now));
    }

    fn report_part(&self, now: Timestamp, settlement: Settlement, metadata: &Metadata) {
        let part = u32::try_from(settlement.amount).unwrap_or(u32::MAX);
        let message = addition(&settlement.descriptors, part);
        let method = match self.link.settings.protocol {
            Protocol::EnvoyRls => Method::ShouldRateLimit,
            Protocol::Reserve | Protocol::CheckReport => Method::Report,
        };
        self.add(now, method, &message, metadata, settlement);
    }

    fn add(
        &self,
        now: Timestamp,
        method: Method,
        message: &[u8],
        metadata: &Metadata,
        settlement: Settlement,
    ) {
        let id = self.link.call(method, message, metadata, self.timeout());
        let kind = CallKind::Add { method, sent: now };
        self.track(now, id, kind, settlement);
    }

    /// Adds as much as there is room for, which is less than `room`. A service that adds nothing that
    /// does not fit would otherwise never count the request that goes past a limit, nor reject the next.
    fn fill(&self, now: Timestamp, mut settlement: Settlement, room: u64) {
        self.drops_excess.set(true);
        self.credits.borrow_mut().clear();
        let part = u32::try_from(room / 2).unwrap_or(u32::MAX);
        if part == 0 {
            return;
        }
        let message = addition(&settlement.descriptors, part);
        let method = Method::ShouldRateLimit;
        match self
            .link
            .call(method, &message, &Metadata::new(), self.timeout())
        {
            Ok(id) => {
                settlement.amount = part.into();
                self.track(now, Ok(id), CallKind::Fill { room }, settlement);
            }
            Err(error) => {
                settlement.amount = room;
                self.track(now, Err(error), CallKind::Fill { room }, settlement);
            }
        }
    }

    fn timeout(&self) -> Nanos {
        self.link.settings.timeout.max(MIN_TIMEOUT)
    }

    /// Keeps a settlement until the reply to its call arrives; queues it if the call was not made.
    fn track(
        &self,
        now: Timestamp,
        id: Result<CallId, CallError>,
        kind: CallKind,
        settlement: Settlement,
    ) {
        match id {
            Ok(id) => {
                self.calls
                    .borrow_mut()
                    .insert(id, Call { settlement, kind });
            }
            Err(error) => self.retry_after(now, settlement, &error),
        }
    }

    /// Queues a settlement whose sending has failed.
    fn retry_after(&self, now: Timestamp, settlement: Settlement, error: &CallError) {
        self.failed(now, error);
        // It was only to release a reservation, which expires.
        if settlement.amount == 0 {
            return;
        }
        let settlement = self.capped(settlement);
        self.link.observe(ServiceEvent::SettlementRetried);
        let random = self.link.random();
        self.enqueue(settlement, |queue, settlement| {
            queue.retry(settlement, now, random)
        });
    }

    fn enqueue(
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

    /// Returns a settlement of at most what one exchange is believed to use. A larger one would take
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
    fn lose(&self, settlement: &Settlement, reason: &str) {
        let amount = settlement.amount;
        self.link.observe(ServiceEvent::SettlementLost { amount });
        log::error!(
            "settlements_lost cluster={} domain={:?} amount={amount} reason={reason:?}",
            self.link.settings.cluster,
            settlement.descriptors.domain,
        );
    }

    fn observe_pending(&self) {
        let pending = self.queue.borrow().len();
        self.link.observe(ServiceEvent::SettlementsPending(pending));
    }
}

/// Returns the message that adds hits to the counters of a set; if they are 0, one that only reads them.
fn addition(descriptors: &DescriptorSet, hits_addend: u32) -> Vec<u8> {
    let request = RateLimitRequest {
        domain: descriptors.domain.to_string(),
        descriptors: descriptors.descriptors.clone(),
        hits_addend,
    };
    request.encode_to_vec()
}

/// Returns whether a service has added nothing because it did not fit. limitador is such a service, and
/// does not report how descriptors stand; those that do add whatever is reported.
fn has_not_added(reply: &Reply) -> bool {
    reply.is_over_limit && reply.statuses.is_empty()
}
