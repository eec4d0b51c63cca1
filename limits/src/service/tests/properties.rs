//! Whatever fails in whatever order, what was settled is counted.

use super::super::mock::{Limitador, MockReply};
use super::super::{
    CallId, CheckRequest, CheckResult, GrpcCall, Metadata, Observer, Protocol, QueueBounds, Reply,
    ReservationId, ServiceClient, ServiceEvent, ServiceSettings, Transport, TransportError,
    message,
};
use super::descriptors;
use crate::time::{Nanos, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    /// An exchange of a caller is checked, and settles its cost; at first more than that.
    Exchange { caller: u32, cost: u64, excess: u64 },
    /// The oldest calls under way are replied to, or fail.
    Reply { calls: usize, failure: Option<u32> },
    /// So many milliseconds pass before a tick.
    Tick(u64),
    /// The service loses or gains `Reserve`.
    LacksReserve(bool),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let failure = prop_oneof![
        3 => Just(None),
        1 => prop::sample::select(vec![4_u32, 12, 13, 14]).prop_map(Some),
        // Not a status: a reply that is malformed.
        1 => Just(Some(u32::MAX)),
    ];
    let event = prop_oneof![
        4 => (0..4_u32, 0..100_u64, prop_oneof![Just(0), 0..100_u64])
            .prop_map(|(caller, cost, excess)| Event::Exchange { caller, cost, excess }),
        4 => (1..6_usize, failure).prop_map(|(calls, failure)| Event::Reply { calls, failure }),
        3 => (1..3_000_u64).prop_map(Event::Tick),
        1 => any::<bool>().prop_map(Event::LacksReserve),
    ];
    vec(event, 1..120)
}

/// A transport that keeps its calls, and an observer that keeps what metrics would show.
#[derive(Default)]
struct Recorder {
    calls: RefCell<Vec<(String, Vec<u8>)>>,
    pending: Cell<usize>,
    open_circuits: Cell<i32>,
}

impl Transport for Recorder {
    fn call_grpc(&self, call: &GrpcCall<'_>) -> Result<CallId, TransportError> {
        let mut calls = self.calls.borrow_mut();
        calls.push((call.method.to_owned(), call.message.to_vec()));
        Ok(CallId(u32::try_from(calls.len()).unwrap()))
    }
}

impl Observer for Recorder {
    fn observe(&self, event: ServiceEvent) {
        match event {
            ServiceEvent::CircuitOpened => self.open_circuits.set(self.open_circuits.get() + 1),
            ServiceEvent::CircuitClosed => self.open_circuits.set(self.open_circuits.get() - 1),
            ServiceEvent::SettlementsPending(pending) => self.pending.set(pending),
            _ => {}
        }
    }
}

/// A service, and the calls to it that are under way.
struct World {
    recorder: Rc<Recorder>,
    client: ServiceClient,
    limitador: Limitador,
    replied: usize,
    now: Timestamp,
    /// The callers, costs and excesses of exchanges whose checks are under way.
    open: Vec<(CallId, u32, u64, u64)>,
}

impl World {
    fn new(protocol: Protocol, flush_ms: u64) -> Self {
        let recorder = Rc::new(Recorder::default());
        let settings = ServiceSettings {
            cluster: "limitador".to_owned(),
            protocol,
            timeout: Nanos::from_millis(100),
            flush_interval: Nanos::from_millis(flush_ms),
            queue: QueueBounds::default(),
        };
        Self {
            client: ServiceClient::new(settings, recorder.clone(), recorder.clone(), 7),
            recorder,
            limitador: Limitador::new(u64::MAX / 2),
            replied: 0,
            now: Timestamp::new(1_000_000_000),
            open: Vec::new(),
        }
    }

    fn settle(&self, caller: u32, reservation: Option<ReservationId>, cost: u64, excess: u64) {
        let set = descriptors(1, caller);
        let total = cost + excess;
        self.client
            .settle(self.now, &set, reservation, total, &Metadata::new());
        self.client.credit(self.now, &set, excess, Timestamp::MAX);
    }

    fn exchange(&mut self, caller: u32, cost: u64, excess: u64) {
        let request = CheckRequest {
            descriptors: descriptors(1, caller),
            amount: 10,
            ttl: Nanos::SECOND,
        };
        let call = if self.client.is_circuit_open() {
            None
        } else {
            self.client.check(self.now, 1, &request, &Metadata::new())
        };
        match call {
            Some(call) => self.open.push((call, caller, cost, excess)),
            None => self.settle(caller, None, cost, excess),
        }
    }

    fn has_calls(&self) -> bool {
        self.replied < self.recorder.calls.borrow().len()
    }

    fn reply(&mut self, failure: Option<u32>) {
        if !self.has_calls() {
            return;
        }
        let (method, message) = self.recorder.calls.borrow()[self.replied].clone();
        self.replied += 1;
        let call = CallId(u32::try_from(self.replied).unwrap());
        let outcome: MockReply = match failure {
            None => self.limitador.call(&method, &message),
            Some(u32::MAX) => Ok(vec![0x0a, 0xff]),
            Some(status) => Err(status),
        };
        let outcome = outcome.as_deref().map_err(|status| *status);
        let reply = self.client.on_reply(self.now, call, outcome);
        let position = self.open.iter().position(|(open, ..)| *open == call);
        if let Some(position) = position {
            let (_, caller, cost, excess) = self.open.remove(position);
            let reservation = match reply.unwrap().result {
                CheckResult::Reply(Reply { reservation, .. }) => reservation,
                CheckResult::Retry | CheckResult::Failed => None,
            };
            self.settle(caller, reservation, cost, excess);
        } else {
            assert!(reply.is_none());
        }
    }

    fn tick(&mut self, milliseconds: u64) {
        self.now = self.now.saturating_add(Nanos::from_millis(milliseconds));
        self.client.on_tick(self.now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn counted_usage_equals_settled_usage(
        events in events(),
        reserves in any::<bool>(),
        flush_ms in prop::sample::select(vec![0_u64, 20]),
    ) {
        let protocol = if reserves { Protocol::Reserve } else { Protocol::CheckReport };
        let mut world = World::new(protocol, flush_ms);
        let mut settled = [0; 4];
        for event in events {
            match event {
                Event::Exchange { caller, cost, excess } => {
                    settled[usize::try_from(caller).unwrap()] += cost;
                    world.exchange(caller, cost, excess);
                }
                Event::Reply { calls, failure } => {
                    for _ in 0..calls {
                        world.reply(failure);
                    }
                }
                Event::Tick(milliseconds) => world.tick(milliseconds),
                Event::LacksReserve(lacks) => world.limitador.lacks_reserve = lacks,
            }
        }
        // The service works again, and every caller uses more than its credit.
        world.limitador.lacks_reserve = false;
        for caller in 0..4 {
            settled[usize::try_from(caller).unwrap()] += 20_000;
            world.exchange(caller, 20_000, 0);
        }
        for _ in 0..1_000 {
            while world.has_calls() {
                world.reply(None);
            }
            world.tick(50);
        }
        prop_assert!(world.client.is_drained());
        for (caller, settled) in settled.into_iter().enumerate() {
            let descriptor = &descriptors(1, u32::try_from(caller).unwrap()).descriptors[0];
            let counted = world.limitador.used.get(&("test".to_owned(), descriptor.clone()));
            prop_assert_eq!(counted.copied().unwrap_or_default(), settled);
        }
        prop_assert_eq!(world.recorder.pending.get(), 0);
        prop_assert_eq!(world.recorder.open_circuits.get(), 0);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = message::read_reserve(&bytes);
        let _ = message::read_check(&bytes);
        let _ = message::read_commit(&bytes);
    }
}
