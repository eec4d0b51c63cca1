//! The connection to a service: makes calls, and knows whether the service is worth calling.

use super::circuit::{Change, Circuit};
use super::message::MessageError;
use super::method::Method;
use super::observer::{Observer, ServiceEvent};
use super::settings::ServiceSettings;
use super::transport::{CallId, GrpcCall, Metadata, Transport, TransportError};
use crate::time::{Nanos, Timestamp};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// The connection to a service.
pub(super) struct Link {
    pub(super) settings: ServiceSettings,
    transport: Rc<dyn Transport>,
    observer: Rc<dyn Observer>,
    circuit: Cell<Circuit>,
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
    #[error("a reply after {0} ms")]
    Late(u64),
}

// === impl CallError ===

impl CallError {
    /// gRPC's `UNIMPLEMENTED`.
    pub(super) const UNIMPLEMENTED: u32 = 12;

    /// Returns whether a service that works says that the message is wrong: `INVALID_ARGUMENT`,
    /// `FAILED_PRECONDITION` or `OUT_OF_RANGE`.
    const fn is_reply(&self) -> bool {
        matches!(self, Self::Status(3 | 9 | 11))
    }
}

// === impl Link ===

impl Link {
    pub(super) fn new(
        settings: ServiceSettings,
        transport: Rc<dyn Transport>,
        observer: Rc<dyn Observer>,
        seed: u64,
    ) -> Self {
        Self {
            settings,
            transport,
            observer,
            circuit: Cell::default(),
            random: RefCell::new(fastrand::Rng::with_seed(seed)),
        }
    }

    /// Starts a call.
    pub(super) fn call(
        &self,
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
        })?;
        Ok(call)
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
    pub(super) fn succeeded(&self) -> bool {
        let mut circuit = self.circuit.get();
        let change = circuit.succeeded();
        self.circuit.set(circuit);
        if change == Some(Change::Closed) {
            self.observe(ServiceEvent::CircuitClosed);
            return true;
        }
        false
    }

    /// Takes note that a call has failed. Returns whether that has closed the circuit.
    pub(super) fn failed(&self, now: Timestamp, error: &CallError) -> bool {
        self.observe(ServiceEvent::CallFailed);
        if error.is_reply() {
            // A caller can cause it, and must not open the circuit for others.
            return self.succeeded();
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

    pub(super) fn observe(&self, event: ServiceEvent) {
        self.observer.observe(event);
    }

    /// Returns a number that differs between workers and calls.
    pub(super) fn random(&self) -> u64 {
        self.random.borrow_mut().u64(..)
    }
}
