//! Telling a service what was used, until it has it.

use super::message::{self, CommitRequest, RateLimitRequest, Reply};
use super::method::Method;
use super::metrics::Count;
use super::queue::{Kept, Queue, Settlement};
use super::subject::Subject;
use super::{Answer, Answered, Call, CallError, Remote, Trace};
use crate::host::Host;
use filter_config::Protocol;
use prost::Message;
use std::rc::Rc;

/// How many settlements are sent from the queue in one tick.
const MOST_AT_ONCE: usize = 64;

/// What one message can add.
const PART: u64 = u32::MAX as u64;

/// How many parts of one settlement are sent in one tick.
const PARTS_AT_ONCE: u64 = 16;

/// The most that one exchange is believed to have used, where it is told in parts: more than any model
/// answers, and 274 dollars.
const MOST_OF_ONE: u64 = 64 * PART;

// === impl Remote ===

impl Remote {
    /// Tells the service what an exchange used, and releases what was reserved for it.
    pub fn settle(
        &self,
        host: &dyn Host,
        now: u64,
        subject: &Rc<Subject>,
        reservation: Option<String>,
        cost: u64,
        trace: &Trace,
    ) {
        let settlement = Settlement {
            subject: Rc::clone(subject),
            amount: cost,
            since: now,
            failures: 0,
        };
        match reservation {
            Some(reservation) if !self.is_away() => {
                let request = CommitRequest {
                    domain: subject.domain.to_string(),
                    descriptors: subject.descriptors.clone(),
                    reservation_id: reservation,
                    actual_amount: cost,
                };
                let message = request.encode_to_vec();
                self.send(host, now, Method::Commit, &message, trace, settlement);
            }
            // To report nothing would count as 1; and a reservation that nobody releases expires.
            _ if cost == 0 => {}
            _ if self.is_away() || self.settings.flush_ms > 0 => {
                let settlement = self.believable(host, settlement);
                let flush = u64::from(self.settings.flush_ms).saturating_mul(1_000_000);
                self.keep(host, settlement, |queue, settlement| {
                    queue.add(settlement, now.saturating_add(flush))
                });
            }
            _ => {
                let settlement = self.believable(host, settlement);
                self.report(host, now, settlement, trace);
            }
        }
    }

    /// Gives back what was reserved for an exchange that is over.
    pub fn give_back(&self, host: &dyn Host, now: u64, answered: Answered) {
        if let Answer::Reply(Reply { reservation, .. }) = answered.answer
            && reservation.is_some()
        {
            let subject = &answered.subject;
            self.settle(host, now, subject, reservation, 0, &Trace::new());
        }
    }

    /// Sends what is due.
    pub(super) fn send_due(&self, host: &dyn Host, now: u64) {
        let due = self.queue.borrow_mut().take_due(now, MOST_AT_ONCE);
        self.send_all(host, now, due);
    }

    /// Sends everything, due or not. Returns whether nothing is left, and no settlement is under way.
    pub fn drain(&self, host: &dyn Host, now: u64) -> bool {
        self.queue.borrow_mut().hasten(now);
        let all = self.queue.borrow_mut().take_due(now, usize::MAX);
        self.send_all(host, now, all);
        self.is_drained()
    }

    /// Whether nothing waits, and no settlement is under way.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        let calls = self.calls.borrow();
        let settles = |call: &Call| {
            matches!(
                call,
                Call::Settlement { .. } | Call::Filling { .. } | Call::Inquiry(_)
            )
        };
        self.queue.borrow().is_empty() && !calls.values().any(settles)
    }

    /// The service has answered to a settlement, which took so many nanoseconds, or will not.
    pub(super) fn settled(
        &self,
        host: &dyn Host,
        now: u64,
        settlement: Settlement,
        method: Method,
        took: u64,
        reply: Result<&[u8], CallError>,
    ) {
        let told = reply.and_then(|message| match method {
            Method::Commit => Ok(message::committed(message).map(|()| Reply::default())?),
            _ => Ok(message::checked(message)?),
        });
        match told {
            Ok(reply) => {
                let took_ms = took / 1_000_000;
                if took_ms > self.settings.timeout_ms.into() {
                    // It is told; a request would not have waited for it.
                    self.failed(host, now, &CallError::Late(took_ms));
                } else {
                    self.succeeded(host, now);
                }
                if method == Method::ShouldRateLimit && has_not_added(&reply) {
                    let room = settlement.amount;
                    self.fill(host, now, settlement, room);
                }
            }
            Err(error) => self.put_back(host, now, settlement, &error),
        }
    }

    /// The service has answered to part of a settlement that did not fit, or will not.
    pub(super) fn filled(
        &self,
        host: &dyn Host,
        now: u64,
        mut settlement: Settlement,
        room: u64,
        reply: Result<&[u8], CallError>,
    ) {
        match reply.and_then(|message| Ok(message::checked(message)?)) {
            Ok(reply) => {
                self.succeeded(host, now);
                let part = settlement.amount;
                let room = if has_not_added(&reply) {
                    part
                } else {
                    room.saturating_sub(part)
                };
                self.fill(host, now, settlement, room);
            }
            Err(error) => {
                settlement.amount = room;
                self.put_back(host, now, settlement, &error);
            }
        }
    }

    /// Sends settlements from the queue, but for those that are too old.
    pub(super) fn send_all(&self, host: &dyn Host, now: u64, settlements: Vec<Settlement>) {
        for settlement in settlements {
            if settlement.is_stale(now) {
                self.lose(host, &settlement, "told in vain for a day");
            } else if settlement.failures > 0 && self.settings.protocol != Protocol::EnvoyRls {
                self.inquire(host, now, settlement);
            } else {
                self.report(host, now, settlement, &Trace::new());
            }
        }
        self.metrics.waiting(host, &self.queue.borrow());
    }

    /// Asks how the counters stand of a settlement that was told in vain, which is told again when there is
    /// an answer. One that does not come in time may have had its effect, and would have it each time; to ask
    /// has none. Services of Envoy's protocol may count what asks, too.
    fn inquire(&self, host: &dyn Host, now: u64, settlement: Settlement) {
        let message = addition(&settlement.subject, 0);
        let call = Call::Inquiry(settlement.clone());
        let trace = Trace::new();
        self.call_or_keep(host, now, Method::Check, &message, &trace, call, settlement);
    }

    /// The service has answered how the counters of a settlement stand, or will not.
    pub(super) fn inquired(
        &self,
        host: &dyn Host,
        now: u64,
        settlement: Settlement,
        reply: Result<&[u8], CallError>,
    ) {
        match reply.and_then(|message| Ok(message::checked(message)?)) {
            Ok(_) => {
                self.succeeded(host, now);
                self.report(host, now, settlement, &Trace::new());
            }
            Err(error) => self.put_back(host, now, settlement, &error),
        }
    }

    /// Adds an amount to the counters of a subject; what a message has no room for, in parts.
    fn report(&self, host: &dyn Host, now: u64, mut settlement: Settlement, trace: &Trace) {
        for _ in 0..PARTS_AT_ONCE {
            let mut part = settlement.clone();
            part.amount = settlement.amount.min(PART);
            settlement.amount = settlement.amount.saturating_sub(PART);
            self.report_part(host, now, part, trace);
            if settlement.amount == 0 {
                return;
            }
        }
        self.keep(host, settlement, |queue, settlement| {
            queue.add(settlement, now)
        });
    }

    fn report_part(&self, host: &dyn Host, now: u64, settlement: Settlement, trace: &Trace) {
        let part = u32::try_from(settlement.amount).unwrap_or(u32::MAX);
        let message = addition(&settlement.subject, part);
        let method = match self.settings.protocol {
            Protocol::EnvoyRls => Method::ShouldRateLimit,
            _ => Method::Report,
        };
        self.send(host, now, method, &message, trace, settlement);
    }

    /// Adds as much as there is room for, which is less than `room`. A service that adds nothing that
    /// does not fit would otherwise never count the request that goes past a limit, nor refuse the next.
    fn fill(&self, host: &dyn Host, now: u64, mut settlement: Settlement, room: u64) {
        let part = u32::try_from(room / 2).unwrap_or(u32::MAX);
        if part == 0 {
            return;
        }
        let message = addition(&settlement.subject, part);
        settlement.amount = part.into();
        let mut kept = settlement.clone();
        kept.amount = room;
        let call = Call::Filling { settlement, room };
        let trace = Trace::new();
        let method = Method::ShouldRateLimit;
        self.call_or_keep(host, now, method, &message, &trace, call, kept);
    }

    fn send(
        &self,
        host: &dyn Host,
        now: u64,
        method: Method,
        message: &[u8],
        trace: &Trace,
        settlement: Settlement,
    ) {
        let call = Call::Settlement {
            settlement: settlement.clone(),
            method,
            sent: now,
        };
        self.call_or_keep(host, now, method, message, trace, call, settlement);
    }

    /// Makes a call; where it cannot be made, the settlement is kept for later.
    #[allow(clippy::too_many_arguments)] // Those of the call, and what it is about.
    fn call_or_keep(
        &self,
        host: &dyn Host,
        now: u64,
        method: Method,
        message: &[u8],
        trace: &Trace,
        call: Call,
        settlement: Settlement,
    ) {
        // Why it failed has been counted and told.
        if self.call(host, now, method, message, trace, call).is_err() {
            self.keep_for_later(host, now, settlement);
        }
    }

    fn put_back(&self, host: &dyn Host, now: u64, settlement: Settlement, error: &CallError) {
        self.failed(host, now, error);
        self.keep_for_later(host, now, settlement);
    }

    /// Keeps a settlement whose sending has failed.
    fn keep_for_later(&self, host: &dyn Host, now: u64, settlement: Settlement) {
        // What was to release a reservation, and to add nothing.
        if settlement.amount == 0 {
            return;
        }
        let settlement = self.believable(host, settlement);
        self.metrics.count(host, Count::Retries, 1);
        let random = self.random();
        self.keep(host, settlement, |queue, settlement| {
            queue.put_back(settlement, now, random)
        });
    }

    fn keep(
        &self,
        host: &dyn Host,
        settlement: Settlement,
        add: impl FnOnce(&mut Queue, Settlement) -> Kept,
    ) {
        let lost = settlement.clone();
        let kept = add(&mut self.queue.borrow_mut(), settlement);
        self.metrics.waiting(host, &self.queue.borrow());
        match kept {
            Kept::Own => {}
            Kept::Other => {
                if self.metrics.count(host, Count::Merged, 1) == 0 {
                    log::warn!(
                        "storage: so much waits to be told that it is charged to others of the \
                         same limit",
                    );
                }
            }
            Kept::Not => self.lose(host, &lost, "too much waits to be told"),
        }
    }

    /// What of a settlement of one exchange can be believed, where it takes messages in proportion to tell
    /// it: the rest is given up.
    fn believable(&self, host: &dyn Host, mut settlement: Settlement) -> Settlement {
        if settlement.amount > MOST_OF_ONE {
            let mut rest = settlement.clone();
            rest.amount = settlement.amount.saturating_sub(MOST_OF_ONE);
            settlement.amount = MOST_OF_ONE;
            self.lose(host, &rest, "no exchange uses so much");
        }
        settlement
    }

    /// Gives up a settlement.
    fn lose(&self, host: &dyn Host, settlement: &Settlement, why: &str) {
        let Settlement {
            amount, subject, ..
        } = settlement;
        let lost = i64::try_from(*amount).unwrap_or(i64::MAX);
        self.metrics.count(host, Count::Lost, lost);
        let domain = &subject.domain;
        log::error!("storage: {amount} used in {domain} will not be counted: {why}");
    }
}

/// The message that adds so much to the counters of a subject; where it is nothing, one that asks about them.
fn addition(subject: &Subject, hits_addend: u32) -> Vec<u8> {
    let request = RateLimitRequest {
        domain: subject.domain.to_string(),
        descriptors: subject.descriptors.clone(),
        hits_addend,
    };
    request.encode_to_vec()
}

/// Whether a service has added nothing, because it did not fit. limitador is such a one, and does not
/// tell how descriptors stand; those that do add whatever comes.
fn has_not_added(reply: &Reply) -> bool {
    reply.is_over_limit && reply.statuses.is_empty()
}
