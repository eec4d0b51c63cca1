//! The client: checks requests, and dispatches the replies to all calls.

use super::descriptors::{DescriptorSet, Layout};
use super::link::{CallError, Link};
use super::message::{
    self, Descriptor, Entry, NO_HITS, RateLimitRequest, Reply, ReservationId, ReserveRequest,
};
use super::method::Method;
use super::observer::Observer;
use super::settings::{Protocol, ServiceSettings};
use super::settlement::Settlements;
use super::transport::{CallId, Metadata, Transport};
use crate::time::{Nanos, Timestamp};
use prost::Message;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// How long `Reserve` is not tried again with a service that does not implement it.
const RESERVE_RETRY: Nanos = Nanos::HOUR;

/// The longest time between ticks.
const MAX_TICK: Nanos = Nanos::from_millis(50);

/// A client of one rate limit service.
pub struct ServiceClient {
    link: Rc<Link>,
    settlements: Settlements,
    checks: RefCell<HashMap<CallId, Call>>,
    /// Until when the service is taken not to implement `Reserve`.
    reserve_unsupported_until: Cell<Timestamp>,
}

/// What a service is asked before a request continues.
#[derive(Clone, Debug)]
pub struct CheckRequest {
    /// The counters.
    pub descriptors: Rc<DescriptorSet>,
    /// What is to be reserved; only [`Protocol::Reserve`] reserves.
    pub amount: u64,
    /// How long the reservation lives if it is not settled.
    pub ttl: Nanos,
}

/// The reply to a check.
#[derive(Clone, Debug)]
pub struct CheckReply {
    /// The stream that was given to [`ServiceClient::check`].
    pub stream: u32,
    /// What [`ServiceClient::check`] returned.
    pub call: CallId,
    /// The counters.
    pub descriptors: Rc<DescriptorSet>,
    /// The result.
    pub result: CheckResult,
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// The service has decided.
    Reply(Reply),
    /// The service does not implement the method. Another check uses another method.
    Retry,
    /// The service has not replied, or not with a decision.
    Failed,
}

/// A call under way that is no settlement.
#[derive(Debug)]
enum Call {
    /// A stream waits for it.
    Check {
        stream: u32,
        descriptors: Rc<DescriptorSet>,
        method: Method,
    },
    /// It shows whether the service replies.
    Probe,
}

// === impl ServiceClient ===

impl ServiceClient {
    /// Returns a client. `seed` is a random number, from which the jitter of its delays follows.
    #[must_use]
    pub fn new(
        settings: ServiceSettings,
        transport: Rc<dyn Transport>,
        observer: Rc<dyn Observer>,
        seed: u64,
    ) -> Self {
        let link = Rc::new(Link::new(settings, transport, observer, seed));
        Self {
            settlements: Settlements::new(Rc::clone(&link)),
            link,
            checks: RefCell::default(),
            reserve_unsupported_until: Cell::default(),
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

    /// Returns whether a check would reserve now.
    #[must_use]
    pub fn reserves(&self, now: Timestamp) -> bool {
        self.protocol() == Protocol::Reserve && now >= self.reserve_unsupported_until.get()
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
    /// reply; `None` if the call could not be made.
    pub fn check(
        &self,
        now: Timestamp,
        stream: u32,
        request: &CheckRequest,
        metadata: &Metadata,
    ) -> Option<CallId> {
        let descriptors = &request.descriptors;
        let domain = descriptors.domain.to_string();
        let (method, message) = if self.reserves(now) {
            let request = ReserveRequest {
                domain,
                descriptors: descriptors.descriptors.clone(),
                // A reservation of 0 is none, and is granted even if nothing is left.
                amount: request.amount.max(1),
                ttl: Some(message::to_wire(request.ttl)),
            };
            (Method::Reserve, request.encode_to_vec())
        } else {
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
        };
        let call = Call::Check {
            stream,
            descriptors: Rc::clone(descriptors),
            method,
        };
        self.call(now, method, &message, metadata, call)
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
    /// check, for the stream that started it; if the stream is gone, for [`ServiceClient::release`].
    pub fn on_reply(
        &self,
        now: Timestamp,
        id: CallId,
        reply: Result<&[u8], u32>,
    ) -> Option<CheckReply> {
        if self.settlements.on_reply(now, id, reply) {
            return None;
        }
        let call = self.checks.borrow_mut().remove(&id)?;
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
                result: self.result(now, method, reply),
            }),
            Call::Probe => {
                match reply {
                    // A service that says so works.
                    Ok(_) | Err(CallError::Status(CallError::UNIMPLEMENTED)) => {
                        self.settlements.succeeded(now);
                    }
                    Err(error) => self.settlements.failed(now, &error),
                }
                None
            }
        }
    }

    /// Sends the settlements that are due; while the circuit is open, probes the service instead.
    pub fn on_tick(&self, now: Timestamp) {
        if !self.link.is_open() {
            self.settlements.send_due(now);
        } else if self.link.probe(now) && !self.settlements.probe(now) {
            self.probe(now);
        }
    }

    /// Sends all settlements, due or not. Returns whether nothing is left, and no settlement is under
    /// way.
    pub fn drain(&self, now: Timestamp) -> bool {
        self.settlements.drain(now)
    }

    /// Returns whether no settlement is left or under way.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.settlements.is_drained()
    }

    fn result(
        &self,
        now: Timestamp,
        method: Method,
        reply: Result<&[u8], CallError>,
    ) -> CheckResult {
        if method == Method::Reserve
            && matches!(reply, Err(CallError::Status(CallError::UNIMPLEMENTED)))
        {
            let until = now.saturating_add(RESERVE_RETRY);
            if self.reserve_unsupported_until.replace(until) <= now {
                log::warn!(
                    "storage_reserve_unsupported cluster={} msg=\"using CheckRateLimit and Report \
                     for one hour\"",
                    self.link.settings.cluster,
                );
            }
            self.settlements.succeeded(now);
            return CheckResult::Retry;
        }
        let reply = reply.and_then(|message| match method {
            Method::Reserve => Ok(message::read_reserve(message)?),
            _ => Ok(message::read_check(message)?),
        });
        match reply {
            Ok(reply) => {
                self.settlements.succeeded(now);
                CheckResult::Reply(reply)
            }
            Err(error) => {
                self.settlements.failed(now, &error);
                CheckResult::Failed
            }
        }
    }

    /// Checks a descriptor that no limit matches.
    fn probe(&self, now: Timestamp) {
        let entry = Entry {
            key: "tollgate.probe".to_owned(),
            value: "1".to_owned(),
        };
        let descriptor = Descriptor {
            entries: vec![entry],
        };
        let mut descriptor = descriptor.encode_to_vec();
        let method = match self.protocol() {
            Protocol::EnvoyRls => {
                descriptor.extend(NO_HITS);
                Method::ShouldRateLimit
            }
            Protocol::Reserve | Protocol::CheckReport => Method::Check,
        };
        let request = RateLimitRequest {
            domain: "tollgate".to_owned(),
            descriptors: vec![descriptor],
            hits_addend: 0,
        };
        let message = request.encode_to_vec();
        // If the call cannot be made, the next probe is scheduled all the same.
        self.call(now, method, &message, &Metadata::new(), Call::Probe);
    }

    fn call(
        &self,
        now: Timestamp,
        method: Method,
        message: &[u8],
        metadata: &Metadata,
        call: Call,
    ) -> Option<CallId> {
        let timeout = self.link.settings.timeout;
        match self.link.call(method, message, metadata, timeout) {
            Ok(id) => {
                self.checks.borrow_mut().insert(id, call);
                Some(id)
            }
            Err(error) => {
                self.settlements.failed(now, &error);
                None
            }
        }
    }
}
