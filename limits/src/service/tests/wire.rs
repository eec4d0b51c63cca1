//! A transport that keeps what the client calls, and an observer that keeps what it reports.

use super::super::message::{CommitRequest, Descriptor, RateLimitRequest, ReserveRequest};
use super::super::{
    CallId, CheckError, CheckReply, CheckRequest, GrpcCall, Metadata, Observer, Protocol,
    QueueBounds, ServiceClient, ServiceEvent, ServiceSettings, Transport, TransportError,
};
use super::{EPOCH, Shared, descriptors};
use crate::time::{Nanos, Timestamp};
use prost::Message;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

pub(super) const TIMEOUT: Nanos = Nanos::from_millis(100);

/// A time at which nothing has expired.
pub(super) const NOW: Timestamp = EPOCH.saturating_add(Nanos::HOUR);

/// A call as the service gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) cluster: String,
    pub(super) service: String,
    pub(super) method: String,
    pub(super) message: Vec<u8>,
    pub(super) metadata: Vec<(String, Vec<u8>)>,
    pub(super) timeout: Nanos,
}

/// A transport, and what the client has reported.
#[derive(Default)]
pub(super) struct Wire {
    pub(super) calls: RefCell<Vec<Sent>>,
    pub(super) fails: Cell<bool>,
    pub(super) events: RefCell<Vec<ServiceEvent>>,
}

// === impl Sent ===

impl Sent {
    /// Returns the message of every method but `Reserve` and `Commit`.
    pub(super) fn request(&self) -> RateLimitRequest {
        RateLimitRequest::decode(&*self.message).unwrap()
    }

    pub(super) fn reserve(&self) -> ReserveRequest {
        assert_eq!(self.method, "Reserve");
        ReserveRequest::decode(&*self.message).unwrap()
    }

    pub(super) fn commit(&self) -> CommitRequest {
        assert_eq!(self.method, "Commit");
        CommitRequest::decode(&*self.message).unwrap()
    }

    /// Returns what it adds.
    pub(super) fn amount(&self) -> u64 {
        if self.method == "Commit" {
            self.commit().actual_amount
        } else {
            self.request().hits_addend.into()
        }
    }

    /// Returns the keys of the only descriptor.
    pub(super) fn keys(&self) -> Vec<String> {
        let request = self.request();
        assert_eq!(request.descriptors.len(), 1);
        let descriptor = Descriptor::decode(&*request.descriptors[0]).unwrap();
        let entries = descriptor.entries.into_iter();
        entries.map(|entry| entry.key).collect()
    }
}

// === impl Wire ===

impl Wire {
    /// Returns the number of calls so far.
    pub(super) fn len(&self) -> usize {
        self.calls.borrow().len()
    }

    pub(super) fn call(&self, index: usize) -> Option<Sent> {
        self.calls.borrow().get(index).cloned()
    }

    pub(super) fn last(&self) -> Sent {
        self.calls.borrow().last().cloned().unwrap()
    }

    /// Returns the methods and amounts of the calls since so many.
    pub(super) fn amounts(&self, from: usize) -> Vec<(String, u64)> {
        let calls = self.calls.borrow();
        let calls = calls.iter().skip(from);
        calls.map(|it| (it.method.clone(), it.amount())).collect()
    }

    /// Returns how often an event has happened.
    pub(super) fn count(&self, event: ServiceEvent) -> usize {
        let events = self.events.borrow();
        events.iter().filter(|it| **it == event).count()
    }

    /// Returns the usage that was given up.
    pub(super) fn lost(&self) -> u64 {
        let lost = |event: &ServiceEvent| match event {
            ServiceEvent::SettlementLost { amount } => *amount,
            _ => 0,
        };
        self.events.borrow().iter().map(lost).sum()
    }

    pub(super) fn is_open(&self) -> bool {
        self.count(ServiceEvent::CircuitOpened) > self.count(ServiceEvent::CircuitClosed)
    }

    /// Returns the number of settlements in the queue.
    pub(super) fn pending(&self) -> usize {
        let pending = |event: &ServiceEvent| match event {
            ServiceEvent::SettlementsPending(pending) => Some(*pending),
            _ => None,
        };
        let events = self.events.borrow();
        events.iter().rev().find_map(pending).unwrap_or_default()
    }
}

impl Transport for Wire {
    fn call_grpc(&self, call: &GrpcCall<'_>) -> Result<CallId, TransportError> {
        if self.fails.get() {
            return Err(TransportError("not made".to_owned()));
        }
        let metadata = call.metadata.iter();
        let metadata = metadata.map(|(name, value)| ((*name).to_owned(), value.to_vec()));
        let mut calls = self.calls.borrow_mut();
        calls.push(Sent {
            cluster: call.cluster.to_owned(),
            service: call.service.to_owned(),
            method: call.method.to_owned(),
            message: call.message.to_vec(),
            metadata: metadata.collect(),
            timeout: call.timeout,
        });
        Ok(id(calls.len()))
    }
}

impl Observer for Wire {
    fn observe(&self, event: ServiceEvent) {
        self.events.borrow_mut().push(event);
    }
}

/// Returns what identifies a call, by its number from one on.
pub(super) fn id(number: usize) -> CallId {
    CallId(u32::try_from(4 * number).unwrap())
}

pub(super) fn settings(protocol: Protocol) -> ServiceSettings {
    ServiceSettings {
        cluster: "limitador".to_owned(),
        protocol,
        timeout: TIMEOUT,
        flush_interval: Nanos::ZERO,
        queue: QueueBounds::default(),
        lease: None,
    }
}

pub(super) fn client(protocol: Protocol) -> (ServiceClient, Rc<Wire>) {
    client_of(settings(protocol), &Rc::default())
}

/// Returns a client of a worker of an Envoy.
pub(super) fn client_of(
    settings: ServiceSettings,
    shared: &Rc<Shared>,
) -> (ServiceClient, Rc<Wire>) {
    client_with(settings, shared, 1)
}

/// The same with random numbers that follow from a seed.
pub(super) fn client_with(
    settings: ServiceSettings,
    shared: &Rc<Shared>,
    seed: u64,
) -> (ServiceClient, Rc<Wire>) {
    let wire = Rc::new(Wire::default());
    let client = ServiceClient::new(settings, wire.clone(), wire.clone(), shared.clone(), seed);
    (client, wire)
}

pub(super) fn request(amount: u64) -> CheckRequest {
    CheckRequest {
        descriptors: descriptors(1, 1),
        amount,
        ttl: Nanos::MINUTE,
    }
}

/// Starts a check of a stream.
pub(super) fn check_of(
    client: &ServiceClient,
    now: Timestamp,
    stream: u32,
) -> Result<CallId, CheckError> {
    client.check(now, stream, &request(1), &Metadata::new())
}

pub(super) fn check(client: &ServiceClient, now: Timestamp) -> Result<CallId, CheckError> {
    check_of(client, now, 1)
}

/// Settles usage of a caller without a reservation.
pub(super) fn settle(client: &ServiceClient, now: Timestamp, caller: u32, amount: u64) {
    client.settle(now, &descriptors(1, caller), None, amount, &Metadata::new());
}

/// Replies to a call, by its number from one on.
pub(super) fn reply(
    client: &ServiceClient,
    now: Timestamp,
    number: usize,
    reply: Result<&[u8], u32>,
) -> Option<CheckReply> {
    client.on_reply(now, id(number), reply)
}

pub(super) fn after(now: Timestamp, milliseconds: u64) -> Timestamp {
    now.saturating_add(Nanos::from_millis(milliseconds))
}

/// The reply that admits a request, and the one that rejects it.
pub(super) const ADMITTED: Result<&[u8], u32> = Ok(&[8, 1]);
pub(super) const REJECTED: Result<&[u8], u32> = Ok(&[8, 2]);

/// Opens the circuit. Returns the time.
pub(super) fn open_circuit(client: &ServiceClient, wire: &Wire, now: Timestamp) -> Timestamp {
    for _ in 0..5 {
        let call = check(client, now).unwrap();
        client.on_reply(now, call, Err(14));
        while client.next_ready().is_some() {}
    }
    assert!(wire.is_open() && client.is_circuit_open());
    now
}
