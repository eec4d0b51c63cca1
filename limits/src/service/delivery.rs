//! The calls of settlements, and what their replies mean.

use super::call::{Call, CallKind};
use super::descriptors::DescriptorSet;
use super::link::CallError;
use super::message::{self, CommitRequest, RateLimitRequest, Reply, ReservationId};
use super::method::Method;
use super::queue::Settlement;
use super::settings::Protocol;
use super::settlement::{MAX_CALLS, PART, Settlements};
use super::transport::{CallId, Metadata};
use crate::time::{Nanos, Timestamp};
use prost::Message;
use std::rc::Rc;

/// The shortest timeout of a settlement. No exchange waits for it, and what times out too early is
/// sent, and may be counted, again.
const MIN_TIMEOUT: Nanos = Nanos::SECOND;

/// The number of settlements sent from the queue at once, where calls end as soon as they begin.
const MAX_SENT: usize = 64;

/// The number of parts of one settlement sent at once.
const MAX_PARTS: u64 = 16;

// === impl Settlements ===

impl Settlements {
    /// Returns whether another call may be made.
    pub(super) fn has_room(&self) -> bool {
        !self.is_saturated.get() && self.calls.borrow().len() < MAX_CALLS
    }

    /// Sends what is due, as far as there is room for calls.
    pub(super) fn send_due(&self, now: Timestamp) {
        self.is_saturated.set(false);
        self.send_while(now, || !self.link.is_open());
    }

    /// Sends everything, due or not, as far as there is room for calls. Returns whether nothing is left, and no
    /// settlement is under way.
    pub(super) fn drain(&self, now: Timestamp) -> bool {
        self.queue.borrow_mut().make_due(now);
        self.is_saturated.set(false);
        self.send_while(now, || true);
        self.is_drained()
    }

    fn send_while(&self, now: Timestamp, may_send: impl Fn() -> bool) {
        for _ in 0..MAX_SENT {
            if !self.has_room() || !may_send() {
                return self.observe_pending();
            }
            let due = self.queue.borrow_mut().take_due(now, 1).pop();
            if let Some(settlement) = due {
                self.send(now, settlement);
                continue;
            }
            let release = self.releases.borrow_mut().take(now);
            let Some((descriptors, id)) = release else {
                self.has_backlog.set(false);
                break;
            };
            let settlement = Settlement::new(descriptors, 0, now);
            self.commit(now, settlement, id, &Metadata::new());
        }
        self.observe_pending();
    }

    /// Sends the oldest settlement of the queue as a probe. Returns whether there is one, and room for a call.
    pub(super) fn probe(&self, now: Timestamp) -> bool {
        self.is_saturated.set(false);
        if !self.has_room() {
            return false;
        }
        let oldest = self.queue.borrow_mut().take_oldest();
        let Some(mut oldest) = oldest else {
            return false;
        };
        // The service may be unable to reply, as if sending this had failed.
        oldest.failures = oldest.failures.max(1);
        self.send(now, oldest);
        self.observe_pending();
        true
    }

    /// Takes note that the service has replied. If that closes the circuit, the whole queue is due.
    pub(super) fn succeeded(&self, now: Timestamp) {
        if self.link.succeeded(now) {
            self.on_circuit_closed(now);
        }
    }

    /// Takes note that a call that was sent at a time has failed.
    pub(super) fn failed(&self, now: Timestamp, sent: Timestamp, error: &CallError) {
        if self.link.failed(now, sent, error) {
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
        let Some(call) = self.calls.borrow_mut().remove(&id) else {
            return false;
        };
        self.link.ended(1);
        self.is_saturated.set(false);
        self.on_call_ended(now, call, reply.map_err(CallError::Status));
        // What waits for room is sent as room becomes free, rather than at the next tick.
        if self.has_backlog.get() {
            self.send_while(now, || !self.link.is_open());
        }
        true
    }

    fn on_call_ended(&self, now: Timestamp, call: Call, reply: Result<&[u8], CallError>) {
        let Call {
            settlement,
            kind,
            sent,
        } = call;
        let is_commit = match kind {
            CallKind::Add { method } => method == Method::Commit,
            CallKind::Inquiry | CallKind::Fill { .. } => false,
        };
        let reply = match reply {
            Err(CallError::Status(CallError::UNIMPLEMENTED)) if is_commit => {
                // A limitador of another version, which has done nothing.
                self.succeeded(now);
                if settlement.amount > 0 {
                    self.report(now, settlement, &Metadata::new());
                }
                return;
            }
            Ok(message) if is_commit => message::read_commit(message).map(|()| Reply::default()),
            Ok(message) => message::read_check(message),
            Err(error) => return self.on_call_failed(now, sent, settlement, kind, &error),
        };
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => return self.on_call_failed(now, sent, settlement, kind, &error.into()),
        };
        // A check would not have waited for a late reply: it neither opens the circuit nor closes it.
        let took = now.since(sent).as_millis();
        if took > self.link.settings.timeout.as_millis() {
            self.link.was_late(now);
        } else {
            self.succeeded(now);
        }
        match kind {
            CallKind::Add {
                method: Method::ShouldRateLimit,
            } if has_not_added(&reply) => {
                let room = settlement.amount;
                self.fill(now, settlement, room);
            }
            CallKind::Add { .. } => {}
            CallKind::Inquiry => self.report(now, settlement, &Metadata::new()),
            CallKind::Fill { room } => {
                let part = settlement.amount;
                let room = if has_not_added(&reply) {
                    part
                } else {
                    room.saturating_sub(part)
                };
                self.fill(now, settlement, room);
            }
        }
    }

    fn on_call_failed(
        &self,
        now: Timestamp,
        sent: Timestamp,
        mut settlement: Settlement,
        kind: CallKind,
        error: &CallError,
    ) {
        if let CallKind::Fill { room } = kind {
            settlement.amount = room;
        }
        self.retry_after(now, sent, settlement, error);
    }

    /// Sends a settlement from the queue, except one that is too old.
    fn send(&self, now: Timestamp, settlement: Settlement) {
        if settlement.is_stale(now) {
            return self.lose(&settlement, "not confirmed within a day");
        }
        if settlement.failures > 0 && self.link.settings.protocol != Protocol::EnvoyRls {
            return self.inquire(now, settlement);
        }
        let release = self
            .releases
            .borrow_mut()
            .take_of(now, &settlement.descriptors);
        match release {
            Some(id) => self.commit(now, settlement, id, &Metadata::new()),
            None => self.report(now, settlement, &Metadata::new()),
        }
    }

    /// Asks how the counters of a settlement stand whose sending has failed. It is sent again when there
    /// is a reply. A settlement whose reply does not arrive in time may have had its effect, and would
    /// have it again each time; an inquiry has none. Services of Envoy's protocol may count it, too.
    fn inquire(&self, now: Timestamp, settlement: Settlement) {
        let message = addition(&settlement.descriptors, 0);
        let timeout = self.link.settings.timeout;
        let metadata = Metadata::new();
        let id = self
            .link
            .call(now, Method::Check, &message, &metadata, timeout);
        self.track(now, id, CallKind::Inquiry, settlement);
    }

    /// Adds usage, of one exchange or of several that were merged, and releases a reservation.
    pub(super) fn commit(
        &self,
        now: Timestamp,
        settlement: Settlement,
        id: ReservationId,
        metadata: &Metadata,
    ) {
        let descriptors = Rc::clone(&settlement.descriptors);
        let request = CommitRequest {
            domain: descriptors.domain.to_string(),
            descriptors: descriptors.descriptors.clone(),
            reservation_id: id.0.clone(),
            actual_amount: settlement.amount,
        };
        let message = request.encode_to_vec();
        let method = Method::Commit;
        let call = self
            .link
            .call(now, method, &message, metadata, self.timeout());
        if matches!(call, Err(CallError::Saturated)) {
            self.release_later(now, &descriptors, id);
        }
        self.track(now, call, CallKind::Add { method }, settlement);
    }

    /// Adds a settlement to the counters; in parts, if one message cannot add it.
    pub(super) fn report(&self, now: Timestamp, mut settlement: Settlement, metadata: &Metadata) {
        for _ in 0..MAX_PARTS {
            if !self.has_room() {
                self.has_backlog.set(true);
                break;
            }
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
        let call = self
            .link
            .call(now, method, &message, metadata, self.timeout());
        self.track(now, call, CallKind::Add { method }, settlement);
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
        let metadata = Metadata::new();
        let call = self
            .link
            .call(now, method, &message, &metadata, self.timeout());
        settlement.amount = if call.is_ok() { part.into() } else { room };
        self.track(now, call, CallKind::Fill { room }, settlement);
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
                let call = Call {
                    settlement,
                    kind,
                    sent: now,
                };
                self.calls.borrow_mut().insert(id, call);
            }
            Err(CallError::Saturated) => self.postpone(now, settlement),
            Err(error) => self.on_call_failed(now, now, settlement, kind, &error),
        }
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
