//! The client with a transport that says whether calls are made.

use super::super::message::RateLimitRequest;
use super::super::mock::Limitador;
use super::super::{
    CallId, CheckError, CheckRequest, GrpcCall, Metadata, Observer, Protocol, QueueBounds,
    ReservationId, ServiceClient, ServiceEvent, ServiceSettings, Transport, TransportError,
};
use super::{EPOCH, Shared, at, descriptors};
use crate::time::{Nanos, Timestamp};
use prost::Message;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

const TIMEOUT: Nanos = Nanos::from_millis(100);

/// A time at which nothing has expired.
const NOW: Timestamp = EPOCH.saturating_add(Nanos::HOUR);

/// A transport, and what the client has reported.
#[derive(Default)]
struct Wire {
    calls: RefCell<Vec<(String, Vec<u8>)>>,
    fails: Cell<bool>,
    lost: Cell<u64>,
    is_open: Cell<bool>,
}

impl Wire {
    /// Returns the method and the message of a call.
    fn call(&self, index: usize) -> Option<(String, Vec<u8>)> {
        self.calls.borrow().get(index).cloned()
    }
}

impl Transport for Wire {
    fn call_grpc(&self, call: &GrpcCall<'_>) -> Result<CallId, TransportError> {
        if self.fails.get() {
            return Err(TransportError("not made".to_owned()));
        }
        let mut calls = self.calls.borrow_mut();
        calls.push((call.method.to_owned(), call.message.to_vec()));
        Ok(CallId(u32::try_from(4 * calls.len()).unwrap()))
    }
}

impl Observer for Wire {
    fn observe(&self, event: ServiceEvent) {
        match event {
            ServiceEvent::SettlementLost { amount } => self.lost.set(self.lost.get() + amount),
            ServiceEvent::CircuitOpened => self.is_open.set(true),
            ServiceEvent::CircuitClosed => self.is_open.set(false),
            _ => {}
        }
    }
}

fn client(protocol: Protocol) -> (ServiceClient, Rc<Wire>) {
    let settings = ServiceSettings {
        cluster: "limitador".to_owned(),
        protocol,
        timeout: TIMEOUT,
        flush_interval: Nanos::ZERO,
        queue: QueueBounds::default(),
    };
    let wire = Rc::new(Wire::default());
    let shared = Rc::new(Shared::default());
    let client = ServiceClient::new(settings, wire.clone(), wire.clone(), shared, 1);
    (client, wire)
}

fn check(client: &ServiceClient, now: Timestamp) -> Result<CallId, CheckError> {
    let request = CheckRequest {
        descriptors: descriptors(1, 1),
        amount: 1,
        ttl: Nanos::MINUTE,
    };
    client.check(now, 1, &request, &Metadata::new())
}

fn after(now: Timestamp, milliseconds: u64) -> Timestamp {
    now.saturating_add(Nanos::from_millis(milliseconds))
}

#[test]
fn calls_under_way_do_not_make_a_dead_service_saturated() {
    let (client, wire) = client(Protocol::CheckReport);
    let call = check(&client, NOW).unwrap();
    wire.fails.set(true);
    let error_at = |milliseconds| check(&client, after(NOW, milliseconds)).unwrap_err();
    assert_eq!(error_at(100), CheckError::Saturated, "it may still reply");
    assert_eq!(error_at(101), CheckError::Failed);
    // A reply shows that it is there, also one that says nothing.
    client.on_reply(after(NOW, 102), call, Err(3));
    wire.fails.set(false);
    check(&client, after(NOW, 103)).unwrap();
    wire.fails.set(true);
    assert_eq!(error_at(1_102), CheckError::Saturated);
    assert_eq!(error_at(1_103), CheckError::Failed);
}

#[test]
fn late_replies_show_that_a_service_is_there() {
    let (client, wire) = client(Protocol::CheckReport);
    let settle = |caller, now| client.settle(now, &descriptors(1, caller), None, 5, &vec![]);
    settle(1, NOW);
    settle(2, NOW);
    let reply: Result<&[u8], u32> = Ok(&[8, 1]);
    assert!(client.on_reply(after(NOW, 150), CallId(4), reply).is_none());
    wire.fails.set(true);
    let error_at = |milliseconds| check(&client, after(NOW, milliseconds)).unwrap_err();
    assert_eq!(error_at(240), CheckError::Saturated);
    assert_eq!(error_at(251), CheckError::Failed);
}

#[test]
fn clock_that_steps_back_opens_circuit_all_the_same() {
    let (client, wire) = client(Protocol::CheckReport);
    let call = check(&client, NOW).unwrap();
    client.on_reply(after(NOW, 1), call, Ok(&[8, 1]));
    let then = at(1_000_000_000);
    for _ in 0..5 {
        let call = check(&client, then).unwrap();
        client.on_reply(after(then, 100), call, Err(14));
    }
    assert!(wire.is_open.get() && client.is_circuit_open());
}

#[test]
fn clock_that_steps_back_does_not_saturate() {
    let (client, wire) = client(Protocol::CheckReport);
    let call = check(&client, NOW).unwrap();
    client.on_reply(after(NOW, 1), call, Ok(&[8, 1]));
    wire.fails.set(true);
    let then = at(1_000_000_000);
    assert_eq!(check(&client, then), Err(CheckError::Failed));
}

#[test]
fn implausible_usage_is_capped_wherever_it_leaves() {
    const MAX: u64 = 64 * u32::MAX as u64;
    let amounts = |wire: &Wire| -> Vec<(String, u64)> {
        let calls = wire.calls.borrow();
        let amount = |(method, message): &(String, Vec<u8>)| {
            let amount = if method == "Commit" {
                super::super::message::CommitRequest::decode(&**message)
                    .unwrap()
                    .actual_amount
            } else {
                RateLimitRequest::decode(&**message)
                    .unwrap()
                    .hits_addend
                    .into()
            };
            (method.clone(), amount)
        };
        calls.iter().map(amount).collect()
    };
    let id = || Some(ReservationId("1".to_owned()));
    // Sent at once; queued because no call is made; queued because none is replied to.
    let (sent, wire) = client(Protocol::Reserve);
    sent.settle(NOW, &descriptors(1, 1), id(), 1 << 40, &vec![]);
    assert_eq!(amounts(&wire), [("Commit".to_owned(), MAX)]);
    assert_eq!(wire.lost.get(), (1 << 40) - MAX);
    for is_made in [false, true] {
        let (client, wire) = client(Protocol::Reserve);
        check(&client, NOW).unwrap();
        wire.calls.borrow_mut().clear();
        wire.fails.set(!is_made);
        client.settle(NOW, &descriptors(1, 1), id(), 1 << 40, &vec![]);
        client.fail_calls(NOW);
        wire.fails.set(false);
        let mut limitador = Limitador::new(u64::MAX);
        let mut replied = wire.calls.borrow().len();
        for tick in 0..200 {
            let now = after(NOW, 50 * tick);
            client.on_tick(now);
            while let Some((method, message)) = wire.call(replied) {
                replied += 1;
                let reply = limitador.call(&method, &message);
                let id = CallId(u32::try_from(4 * replied).unwrap());
                client.on_reply(now, id, reply.as_deref().map_err(|it| *it));
            }
        }
        assert_eq!(limitador.total(), MAX, "{is_made}");
        assert_eq!(wire.lost.get(), (1 << 40) - MAX);
    }
}

#[test]
fn credit_of_a_service_that_drops_excess_erases_nothing() {
    let (client, wire) = client(Protocol::EnvoyRls);
    let alice = descriptors(1, 1);
    // The service has not added what did not fit.
    client.settle(NOW, &alice, None, 10, &vec![]);
    client.on_reply(NOW, CallId(4), Ok(&[8, 2]));
    wire.fails.set(true);
    client.settle(NOW, &alice, None, 30, &vec![]);
    client.credit(NOW, &alice, 20, after(NOW, 60_000));
    wire.fails.set(false);
    let known = wire.calls.borrow().len();
    client.on_tick(after(NOW, 50));
    let calls = wire.calls.borrow();
    let report = RateLimitRequest::decode(&*calls[known].1).unwrap();
    assert_eq!(report.hits_addend, 30);
}
