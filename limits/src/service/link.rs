//! The connection to a service: makes calls, and knows whether the service is worth calling.

use super::circuit::{Change, Circuit};
use super::message::MessageError;
use super::method::Method;
use super::observer::{Observer, ServiceEvent};
use super::settings::ServiceSettings;
use super::shared::Shared;
use super::transport::{CallId, GrpcCall, Metadata, Transport, TransportError};
use crate::time::{Nanos, Timestamp};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// How long after a reply a service counts as one that replies. Envoy also makes no call where the cluster has no
/// endpoint left, and does not say why.
const REPLYING: Nanos = Nanos::SECOND;

/// The connection to a service.
pub(super) struct Link {
    pub(super) settings: ServiceSettings,
    transport: Rc<dyn Transport>,
    observer: Rc<dyn Observer>,
    circuit: Cell<Circuit>,
    /// When the service last replied in time.
    replied_at: Cell<Timestamp>,
    /// The number of calls under way.
    under_way: Cell<usize>,
    /// Since when calls are under way without a reply to any of them.
    silent_since: Cell<Timestamp>,
    /// What the workers share about the service.
    pub(super) shared: Shared,
    random: RefCell<fastrand::Rng>,
}

/// Why a call brought no reply, or one that was of no use to a request.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("{0}")]
    Transport(#[from] TransportError),
    #[error("gRPC status {0}")]
    Status(u32),
    #[error("{0}")]
    Message(#[from] MessageError),
    /// Envoy makes no call at the moment, because too many are under way: the service replies to others.
    #[error("too many calls under way")]
    Saturated,
}

// === impl CallError ===

impl CallError {
    /// gRPC's `UNIMPLEMENTED`.
    pub(super) const UNIMPLEMENTED: u32 = 12;

    /// Returns whether a service that works says that the message is wrong: `INVALID_ARGUMENT`,
    /// `FAILED_PRECONDITION` or `OUT_OF_RANGE`.
    pub(super) const fn is_reply(&self) -> bool {
        matches!(self, Self::Status(3 | 9 | 11))
    }
}

// === impl Link ===

impl Link {
    pub(super) fn new(
        settings: ServiceSettings,
        transport: Rc<dyn Transport>,
        observer: Rc<dyn Observer>,
        shared: Shared,
        seed: u64,
    ) -> Self {
        Self {
            settings,
            transport,
            observer,
            circuit: Cell::default(),
            replied_at: Cell::default(),
            under_way: Cell::default(),
            silent_since: Cell::default(),
            shared,
            random: RefCell::new(fastrand::Rng::with_seed(seed)),
        }
    }

    /// Starts a call.
    pub(super) fn call(
        &self,
        now: Timestamp,
        method: Method,
        message: &[u8],
        metadata: &Metadata,
        timeout: Nanos,
    ) -> Result<CallId, CallError> {
        let metadata: Vec<(&str, &[u8])> = metadata
            .iter()
            .map(|(name, value)| (*name, value.as_slice()))
            .collect();
        self.observe(ServiceEvent::Call);
        let call = self.transport.call_grpc(&GrpcCall {
            cluster: &self.settings.cluster,
            service: method.service(),
            method: method.name(),
            metadata: &metadata,
            message,
            timeout,
        });
        match call {
            Ok(call) => {
                if self.under_way.get() == 0 {
                    self.silent_since.set(now);
                }
                self.under_way.set(self.under_way.get().saturating_add(1));
                Ok(call)
            }
            Err(_) if self.is_awaited(now) || self.is_replying(now) => {
                self.observe(ServiceEvent::CallSaturated);
                Err(CallError::Saturated)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes note that so many calls have ended.
    pub(super) fn ended(&self, calls: usize) {
        self.under_way
            .set(self.under_way.get().saturating_sub(calls));
    }

    /// Returns whether calls are under way to which the service may still reply in time. One that has replied to
    /// none of them for so long is down, whatever is under way.
    fn is_awaited(&self, now: Timestamp) -> bool {
        let since = self.silent_since.get();
        self.under_way.get() > 0 && is_within(now, since, self.settings.timeout)
    }

    /// Returns whether the service has replied to this worker or another of late.
    fn is_replying(&self, now: Timestamp) -> bool {
        let of_late = |at: Timestamp| is_within(now, at, REPLYING) && at > Timestamp::EPOCH;
        of_late(self.replied_at.get()) || of_late(self.shared.replied())
    }

    /// Returns whether the service is not to be called, except by probes.
    pub(super) fn is_open(&self) -> bool {
        self.circuit.get().is_open()
    }

    /// Returns whether the service is to be probed now.
    pub(super) fn probe(&self, now: Timestamp) -> bool {
        let mut circuit = self.circuit.get();
        let due = circuit.is_open() && circuit.probe(now, self.random());
        self.circuit.set(circuit);
        due
    }

    /// Takes note that the service has replied. Returns whether that has closed the circuit.
    pub(super) fn succeeded(&self, now: Timestamp) -> bool {
        self.replied_at.set(now);
        self.silent_since.set(now);
        self.shared.set_replied(now);
        let mut circuit = self.circuit.get();
        let change = circuit.succeeded();
        self.circuit.set(circuit);
        if change == Some(Change::Closed) {
            self.observe(ServiceEvent::CircuitClosed);
            return true;
        }
        false
    }

    /// Takes note that a call has failed that was sent at a time. Returns whether that has closed the circuit.
    pub(super) fn failed(&self, now: Timestamp, sent: Timestamp, error: &CallError) -> bool {
        self.observe(ServiceEvent::CallFailed);
        if error.is_reply() {
            // A caller can cause it, and must not open the circuit for others.
            return self.succeeded(now);
        }
        // Of many calls some may fail. A service that has replied to others meanwhile is there. A reply in the
        // future is one from before the clock stepped back: it says nothing about the time since.
        let replied_at = self.replied_at.get();
        if replied_at > sent && replied_at <= now {
            return false;
        }
        let mut circuit = self.circuit.get();
        let change = circuit.failed(now, self.random());
        self.circuit.set(circuit);
        if change == Some(Change::Opened) {
            self.observe(ServiceEvent::CircuitOpened);
            log::warn!(
                "storage_circuit_open cluster={} error={:?} msg=\"probing until it answers\"",
                self.settings.cluster,
                error.to_string(),
            );
        }
        false
    }

    /// Takes note that the service has replied, but too late for a check.
    pub(super) fn was_late(&self, now: Timestamp) {
        self.silent_since.set(now);
        self.observe(ServiceEvent::CallFailed);
    }

    pub(super) fn observe(&self, event: ServiceEvent) {
        self.observer.observe(event);
    }

    /// Returns a number that differs between workers and calls.
    pub(super) fn random(&self) -> u64 {
        self.random.borrow_mut().u64(..)
    }
}

/// Returns whether a time is no further away than so long: in the past or, where the clock has stepped back, in the
/// future.
fn is_within(now: Timestamp, at: Timestamp, length: Nanos) -> bool {
    now.since(at) <= length && at.since(now) <= length
}
