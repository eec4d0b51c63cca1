//! The client: checks requests, and dispatches the replies to all calls.

use super::check::{CheckError, CheckReply, CheckRequest, CheckResult};
use super::descriptors::{DescriptorSet, Layout};
use super::leases::{LeaseId, Leases};
use super::link::{CallError, Link};
use super::message::{
    self, Descriptor, Entry, NO_HITS, RateLimitRequest, Reply, ReservationId, ReserveRequest,
};
use super::method::Method;
use super::observer::Observer;
use super::settings::{Protocol, ServiceSettings};
use super::settlement::Settlements;
use super::shared::Shared;
use super::support::{Approach, Support};
use super::transport::{CallId, Metadata, Transport};
use crate::shared_data::SharedData;
use crate::time::{Nanos, Timestamp};
use prost::Message;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// The domain of probes, in which no service has limits.
const PROBE_DOMAIN: &str = "tollgate";

/// The longest time between ticks.
const MAX_TICK: Nanos = Nanos::from_millis(50);

/// A client of one rate limit service.
pub struct ServiceClient {
    pub(super) link: Rc<Link>,
    pub(super) settlements: Settlements,
    pub(super) support: Support,
    /// The leases, where there are any.
    pub(super) leases: Option<Rc<RefCell<Leases>>>,
    checks: RefCell<HashMap<CallId, (Call, Timestamp)>>,
}

/// A call under way that is no settlement.
#[derive(Debug)]
pub(super) enum Call {
    /// A stream waits for it.
    Check {
        stream: u32,
        descriptors: Rc<DescriptorSet>,
        method: Method,
    },
    /// It reserves a slice.
    Lease {
        id: LeaseId,
        number: u64,
        descriptors: Rc<DescriptorSet>,
    },
    /// It shows whether the service replies.
    Probe,
    /// It shows whether the service implements `Reserve` by now.
    ReserveProbe,
}

// === impl ServiceClient ===

impl ServiceClient {
    /// Returns a client. What it learns about the service it shares with those of other workers through `shared`.
    /// `seed` is a random number, from which the jitter of its delays follows.
    #[must_use]
    pub fn new(
        settings: ServiceSettings,
        transport: Rc<dyn Transport>,
        observer: Rc<dyn Observer>,
        shared: Rc<dyn SharedData>,
        seed: u64,
    ) -> Self {
        let shared = Shared::new(shared, &settings.cluster);
        let lease = settings.lease;
        let lease = lease.filter(|_| settings.protocol == Protocol::Reserve);
        let link = Rc::new(Link::new(settings, transport, observer, shared, seed));
        Self {
            settlements: Settlements::new(Rc::clone(&link)),
            support: Support::new(Rc::clone(&link)),
            leases: lease.map(|settings| Rc::new(RefCell::new(Leases::new(settings)))),
            link,
            checks: RefCell::default(),
        }
    }

    /// Returns the protocol of the service, as it is configured.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.link.settings.protocol
    }

    /// Returns how descriptors are laid out for the service.
    #[must_use]
    pub fn layout(&self) -> Layout {
        match self.protocol() {
            Protocol::Reserve | Protocol::CheckReport => Layout::Single,
            Protocol::EnvoyRls => Layout::PerLimit,
        }
    }

    /// Returns whether the circuit is open: the service does not reply, and is not to be checked with.
    #[must_use]
    pub fn is_circuit_open(&self) -> bool {
        self.link.is_open()
    }

    /// Returns whether a check would reserve now, as far as is known.
    #[must_use]
    pub fn reserves(&self) -> bool {
        self.protocol() == Protocol::Reserve && self.support.is_possible()
    }

    /// Returns the period at which [`ServiceClient::on_tick`] has to be called.
    #[must_use]
    pub fn tick_period(&self) -> Nanos {
        let flush_interval = self.link.settings.flush_interval;
        if flush_interval.is_zero() {
            MAX_TICK
        } else {
            flush_interval.min(MAX_TICK)
        }
    }

    /// Starts to check whether there is room for a request of a stream. Returns what identifies its
    /// reply.
    ///
    /// # Errors
    /// [`CheckError`] if the call could not be made.
    pub fn check(
        &self,
        now: Timestamp,
        stream: u32,
        request: &CheckRequest,
        metadata: &Metadata,
    ) -> Result<CallId, CheckError> {
        let descriptors = &request.descriptors;
        let domain = descriptors.domain.to_string();
        let approach = match self.protocol() {
            Protocol::Reserve => self.support.approach(stream),
            Protocol::CheckReport | Protocol::EnvoyRls => Approach::Check,
        };
        let (method, message) = match approach {
            Approach::Wait => {
                let call = self.support.wait(stream, descriptors);
                return call.ok_or(CheckError::Saturated);
            }
            Approach::Reserve => {
                let request = ReserveRequest {
                    domain,
                    descriptors: descriptors.descriptors.clone(),
                    // A reservation of 0 is none, and is granted even if nothing is left.
                    amount: request.amount.max(1),
                    ttl: Some(message::to_wire(request.ttl)),
                };
                (Method::Reserve, request.encode_to_vec())
            }
            Approach::Check => {
                let (method, descriptors) = match self.protocol() {
                    Protocol::EnvoyRls => (Method::ShouldRateLimit, descriptors.without_hits()),
                    Protocol::Reserve | Protocol::CheckReport => {
                        (Method::Check, descriptors.descriptors.clone())
                    }
                };
                let request = RateLimitRequest {
                    domain,
                    descriptors,
                    hits_addend: 0,
                };
                (method, request.encode_to_vec())
            }
        };
        let call = Call::Check {
            stream,
            descriptors: Rc::clone(descriptors),
            method,
        };
        let call = self.call(now, method, &message, metadata, call)?;
        if method == Method::Reserve {
            self.support.called(call, stream);
        }
        Ok(call)
    }

    /// Reports what an exchange used, and releases its reservation.
    pub fn settle(
        &self,
        now: Timestamp,
        descriptors: &Rc<DescriptorSet>,
        reservation: Option<ReservationId>,
        amount: u64,
        metadata: &Metadata,
    ) {
        self.settlements
            .settle(now, descriptors, reservation, amount, metadata);
    }

    /// Corrects a settlement of an exchange that used less, by `excess`. No message takes anything back,
    /// so what is settled next for the same counters is reduced; no longer than `until`, the end of the
    /// window in which the excess was counted.
    pub fn credit(
        &self,
        now: Timestamp,
        descriptors: &Rc<DescriptorSet>,
        excess: u64,
        until: Timestamp,
    ) {
        self.settlements.credit(now, descriptors, excess, until);
    }

    /// Releases what was reserved for an exchange that is over.
    pub fn release(&self, now: Timestamp, reply: CheckReply) {
        if let CheckResult::Reply(Reply { reservation, .. }) = reply.result
            && reservation.is_some()
        {
            self.settle(now, &reply.descriptors, reservation, 0, &Metadata::new());
        }
    }

    /// Takes the reply to a call: its message, or the gRPC status of its failure. Returns the reply to a
    /// check, for the stream that started it; if the stream is gone, for [`ServiceClient::release`]. Others
    /// may be ready after it: [`ServiceClient::next_ready`].
    pub fn on_reply(
        &self,
        now: Timestamp,
        id: CallId,
        reply: Result<&[u8], u32>,
    ) -> Option<CheckReply> {
        if self.settlements.on_reply(now, id, reply) {
            return None;
        }
        let (call, sent) = self.checks.borrow_mut().remove(&id)?;
        self.link.ended(1);
        let reply = reply.map_err(CallError::Status);
        match call {
            Call::Check {
                stream,
                descriptors,
                method,
            } => Some(CheckReply {
                stream,
                call: id,
                descriptors,
                result: self.result(now, (id, method, sent), reply),
            }),
            Call::Lease {
                id: lease,
                number,
                descriptors,
            } => {
                let result = self.result(now, (id, Method::Reserve, sent), reply);
                self.on_lease_reply(now, (lease, number), &descriptors, result);
                None
            }
            Call::Probe | Call::ReserveProbe => {
                let is_implemented = is_implemented(&reply);
                match &reply {
                    // A service that says so works.
                    Ok(_) | Err(CallError::Status(CallError::UNIMPLEMENTED)) => {
                        self.settlements.succeeded(now);
                    }
                    Err(error) => self.settlements.failed(now, sent, error),
                }
                if let Some(is_implemented) = is_implemented
                    && matches!(call, Call::ReserveProbe)
                {
                    self.support.retried(now, is_implemented);
                }
                None
            }
        }
    }

    /// Returns the reply to a check that has waited for what the reply to another has shown. To be called after each
    /// [`ServiceClient::on_reply`] and [`ServiceClient::on_tick`], and again once the stream has it: there may be
    /// many, of which each can start another call.
    #[must_use]
    pub fn next_ready(&self) -> Option<CheckReply> {
        self.support.next_ready()
    }

    /// Sends the settlements that are due; while the circuit is open, probes the service instead.
    pub fn on_tick(&self, now: Timestamp) {
        self.advance_leases(now);
        if !self.link.is_open() {
            self.settlements.send_due(now);
            if self.support.retries(now) {
                self.probe_reserve(now);
            }
        } else if self.link.probe(now) && !self.settlements.probe(now) {
            self.probe(now);
        }
    }

    /// Returns whether another client has the same service: what one knows and has not sent, the other can send.
    #[must_use]
    pub fn is_of_same_service(&self, other: &Self) -> bool {
        self.link.settings.cluster == other.link.settings.cluster && self.layout() == other.layout()
    }

    /// Hands what waits to the client of the same service that replaces this one. Leases end: each is committed once no
    /// request in flight holds a part of it.
    pub fn hand_over(&self, now: Timestamp, successor: &Self) {
        self.end_leases(now);
        self.settlements.hand_over(now, &successor.settlements);
    }

    /// Queues what is under way, because its replies will not arrive.
    pub fn fail_calls(&self, now: Timestamp) {
        self.reset_leases(now);
        self.settlements.fail_calls(now);
    }

    /// Gives up what waits, and logs it.
    pub fn lose_all(&self, reason: &str) {
        self.settlements.lose_all(reason);
    }

    /// Sends all settlements, due or not, and ends leases. Returns whether nothing is left, and no settlement is under
    /// way.
    pub fn drain(&self, now: Timestamp) -> bool {
        self.end_leases(now);
        self.settlements.drain(now) && self.has_no_lease()
    }

    /// Returns whether no settlement is left or under way, nor a lease.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.settlements.is_drained() && self.has_no_lease()
    }

    fn result(
        &self,
        now: Timestamp,
        (id, method, sent): (CallId, Method, Timestamp),
        reply: Result<&[u8], CallError>,
    ) -> CheckResult {
        if method == Method::Reserve
            && matches!(reply, Err(CallError::Status(CallError::UNIMPLEMENTED)))
        {
            self.settlements.succeeded(now);
            self.support.answered(now, id, Some(false));
            return CheckResult::Retry;
        }
        let reply = reply.and_then(|message| match method {
            Method::Reserve => Ok(message::read_reserve(message)?),
            _ => Ok(message::read_check(message)?),
        });
        match &reply {
            Ok(_) => self.settlements.succeeded(now),
            Err(error) => self.settlements.failed(now, sent, error),
        }
        if method == Method::Reserve {
            // After the circuit has taken note of it.
            self.support.answered(now, id, is_implemented(&reply));
        }
        reply.map_or(CheckResult::Failed, CheckResult::Reply)
    }

    /// Calls `Reserve` with a descriptor that no limit matches.
    fn probe_reserve(&self, now: Timestamp) {
        let request = ReserveRequest {
            domain: PROBE_DOMAIN.to_owned(),
            descriptors: vec![probe_descriptor()],
            amount: 1,
            ttl: Some(message::to_wire(Nanos::SECOND)),
        };
        let message = request.encode_to_vec();
        let metadata = Metadata::new();
        // If the call cannot be made, it is made later or by another worker.
        let _ = self.call(
            now,
            Method::Reserve,
            &message,
            &metadata,
            Call::ReserveProbe,
        );
    }

    /// Checks a descriptor that no limit matches.
    fn probe(&self, now: Timestamp) {
        let mut descriptor = probe_descriptor();
        let method = match self.protocol() {
            Protocol::EnvoyRls => {
                descriptor.extend(NO_HITS);
                Method::ShouldRateLimit
            }
            Protocol::Reserve | Protocol::CheckReport => Method::Check,
        };
        let request = RateLimitRequest {
            domain: PROBE_DOMAIN.to_owned(),
            descriptors: vec![descriptor],
            hits_addend: 0,
        };
        let message = request.encode_to_vec();
        // If the call cannot be made, the next probe is scheduled all the same.
        let _ = self.call(now, method, &message, &Metadata::new(), Call::Probe);
    }

    pub(super) fn call(
        &self,
        now: Timestamp,
        method: Method,
        message: &[u8],
        metadata: &Metadata,
        call: Call,
    ) -> Result<CallId, CheckError> {
        let timeout = self.link.settings.timeout;
        match self.link.call(now, method, message, metadata, timeout) {
            Ok(id) => {
                self.checks.borrow_mut().insert(id, (call, now));
                Ok(id)
            }
            Err(CallError::Saturated) => Err(CheckError::Saturated),
            Err(error) => {
                self.settlements.failed(now, now, &error);
                Err(CheckError::Failed)
            }
        }
    }
}

/// Returns whether the service implements the method of a call, if the reply says so.
const fn is_implemented<T>(reply: &Result<T, CallError>) -> Option<bool> {
    match reply {
        Ok(_) | Err(CallError::Message(_)) => Some(true),
        Err(CallError::Status(CallError::UNIMPLEMENTED)) => Some(false),
        Err(error) => {
            if error.is_reply() {
                Some(true)
            } else {
                None
            }
        }
    }
}

/// Returns a descriptor that no limit matches.
fn probe_descriptor() -> Vec<u8> {
    let entry = Entry {
        key: "tollgate.probe".to_owned(),
        value: "1".to_owned(),
    };
    Descriptor {
        entries: vec![entry],
    }
    .encode_to_vec()
}
