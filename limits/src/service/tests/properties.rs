//! Whatever fails in whatever order, what was settled is counted.

use super::super::mock::{Limitador, MockReply};
use super::super::settlement::MAX_CALLS;
use super::super::{
    CallId, CheckError, CheckReply, CheckRequest, CheckResult, GrpcCall, LeaseDemand, LeaseHold,
    LeaseSettings, LeaseUnit, Metadata, Observer, Protocol, QueueBounds, Reply, ReservationId,
    ServiceClient, ServiceEvent, ServiceSettings, Transport, TransportError, message,
};
use super::{Shared, descriptors};
use crate::time::{Nanos, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    /// Exchanges of a caller are checked, and settle their cost; at first more than that.
    Exchanges {
        number: usize,
        caller: u32,
        cost: u64,
        excess: u64,
    },
    /// Calls under way are replied to, from this one on, or fail.
    Reply {
        from: usize,
        calls: usize,
        failure: Failure,
    },
    /// So many milliseconds pass before a tick.
    Tick(u64),
    /// The service loses or gains `Reserve`.
    LacksReserve(bool),
    /// Envoy makes no call, or does again.
    Saturated(bool),
    /// The configuration is replaced. Where it does not wait, no call under way is replied to.
    Reload { waits: bool },
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug)]
enum Failure {
    None,
    /// It has no effect.
    Status(u32),
    /// It has its effect, but the reply is lost.
    ReplyLost,
    /// It has no effect, and its reply is malformed.
    Malformed,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let failure = prop_oneof![
        4 => Just(Failure::None),
        1 => prop::sample::select(vec![4_u32, 12, 13, 14]).prop_map(Failure::Status),
        1 => Just(Failure::ReplyLost),
        1 => Just(Failure::Malformed),
    ];
    let number = prop_oneof![3 => Just(1_usize), 1 => 1..100_usize];
    let calls = prop_oneof![3 => 1..6_usize, 1 => Just(200)];
    let event = prop_oneof![
        4 => (number, 0..CALLERS, 0..100_u64, prop_oneof![Just(0), 0..100_u64]).prop_map(
            |(number, caller, cost, excess)| Event::Exchanges { number, caller, cost, excess },
        ),
        4 => (any::<usize>(), calls, failure)
            .prop_map(|(from, calls, failure)| Event::Reply { from, calls, failure }),
        3 => (1..3_000_u64).prop_map(Event::Tick),
        1 => any::<bool>().prop_map(Event::LacksReserve),
        1 => any::<bool>().prop_map(Event::Saturated),
        1 => any::<bool>().prop_map(|waits| Event::Reload { waits }),
    ];
    vec(event, 1..120)
}

const CALLERS: u32 = 4;

/// A transport that keeps its calls, and an observer that keeps what metrics would show.
#[derive(Default)]
struct Recorder {
    calls: RefCell<BTreeMap<u32, (String, Vec<u8>)>>,
    made: Cell<u32>,
    is_saturated: Rc<Cell<bool>>,
    pending: Cell<usize>,
    open_circuits: Cell<i32>,
}

impl Transport for Recorder {
    fn call_grpc(&self, call: &GrpcCall<'_>) -> Result<CallId, TransportError> {
        if self.is_saturated.get() {
            return Err(TransportError("too many".to_owned()));
        }
        // As Envoy numbers them.
        self.made.set(self.made.get() + 4);
        let id = self.made.get() | 1;
        let mut calls = self.calls.borrow_mut();
        calls.insert(id, (call.method.to_owned(), call.message.to_vec()));
        Ok(CallId(id))
    }
}

impl Observer for Recorder {
    fn observe(&self, event: ServiceEvent) {
        match event {
            ServiceEvent::CircuitOpened => self.open_circuits.set(self.open_circuits.get() + 1),
            ServiceEvent::CircuitClosed => self.open_circuits.set(self.open_circuits.get() - 1),
            ServiceEvent::SettlementsPending(pending) => self.pending.set(pending),
            ServiceEvent::SettlementLost { amount } => panic!("{amount} are lost"),
            _ => {}
        }
    }
}

/// An exchange whose check is under way.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    call: CallId,
    caller: u32,
    cost: u64,
    excess: u64,
}

/// The client of a configuration.
struct Configured {
    recorder: Rc<Recorder>,
    client: ServiceClient,
    open: Vec<Exchange>,
    /// The exchanges that were admitted by a lease.
    leased: Vec<(Exchange, LeaseHold)>,
}

/// A service, and its clients: the last is that of the configuration in force.
struct World {
    settings: ServiceSettings,
    shared: Rc<Shared>,
    is_saturated: Rc<Cell<bool>>,
    configured: Vec<Configured>,
    limitador: Limitador,
    now: Timestamp,
    /// What was added by calls whose replies were lost.
    uncertain: u64,
}

impl Configured {
    fn settle(&self, now: Timestamp, exchange: &Exchange, reservation: Option<ReservationId>) {
        let set = descriptors(1, exchange.caller);
        let total = exchange.cost + exchange.excess;
        let metadata = Metadata::new();
        self.client.settle(now, &set, reservation, total, &metadata);
        let until = Timestamp::MAX;
        self.client.credit(now, &set, exchange.excess, until);
    }

    /// Settles the exchanges that were admitted by leases.
    fn settle_leased(&mut self, now: Timestamp) {
        let metadata = Metadata::new();
        for (exchange, mut hold) in std::mem::take(&mut self.leased) {
            let set = Rc::clone(hold.descriptors());
            let rest = hold.settle(exchange.cost + exchange.excess);
            self.client.settle(now, &set, None, rest, &metadata);
            let rest = hold.credit(exchange.excess);
            self.client.credit(now, &set, rest, Timestamp::MAX);
        }
    }

    /// Admits an exchange by a lease, if it has room.
    fn admit_by_lease(&mut self, now: Timestamp, exchange: Exchange) -> bool {
        let demand = LeaseDemand {
            id: exchange.caller.into(),
            unit: LeaseUnit::Tokens,
            amount: 10,
            remaining: 1_000_000,
            window_ends: Timestamp::MAX,
        };
        let set = || Some((*descriptors(1, exchange.caller)).clone());
        match self.client.hold(now, &demand, set) {
            Some(hold) if hold.amount() == demand.amount => {
                self.leased.push((exchange, hold));
                true
            }
            _ => false,
        }
    }

    /// Takes a reply to a check.
    fn on_check_reply(&mut self, now: Timestamp, reply: CheckReply) {
        let open = self.open.iter();
        let position = open.map(|it| it.call).position(|call| call == reply.call);
        let exchange = self.open.remove(position.unwrap());
        match reply.result {
            CheckResult::Retry => self.check(now, exchange),
            CheckResult::Reply(Reply { reservation, .. }) => {
                self.settle(now, &exchange, reservation);
            }
            CheckResult::Failed => self.settle(now, &exchange, None),
        }
    }

    fn check(&mut self, now: Timestamp, exchange: Exchange) {
        let request = CheckRequest {
            descriptors: descriptors(1, exchange.caller),
            amount: 10,
            ttl: Nanos::SECOND,
        };
        let stream = u32::try_from(self.open.len()).unwrap();
        let metadata = Metadata::new();
        if self.admit_by_lease(now, exchange) {
            return;
        }
        let call = if self.client.is_circuit_open() {
            Err(CheckError::Failed)
        } else {
            self.client.check(now, stream, &request, &metadata)
        };
        match call {
            Ok(call) => self.open.push(Exchange { call, ..exchange }),
            Err(_) => self.settle(now, &exchange, None),
        }
    }

    fn settlements_under_way(&self) -> usize {
        let calls = self.recorder.calls.borrow();
        let settles = |method: &str| ["Commit", "Report"].contains(&method);
        calls.values().filter(|(method, _)| settles(method)).count()
    }
}

impl World {
    fn new(protocol: Protocol, flush_ms: u64, leases: bool) -> Self {
        let settings = ServiceSettings {
            cluster: "limitador".to_owned(),
            protocol,
            timeout: Nanos::from_millis(100),
            flush_interval: Nanos::from_millis(flush_ms),
            queue: QueueBounds::default(),
            lease: leases.then_some(LeaseSettings {
                tokens: 200,
                requests: 100,
                ttl: Nanos::SECOND,
            }),
        };
        let mut world = Self {
            settings,
            shared: Rc::default(),
            is_saturated: Rc::default(),
            configured: Vec::new(),
            limitador: Limitador::new(u64::MAX / 2),
            now: Timestamp::new(1_000_000_000),
            uncertain: 0,
        };
        world.configure();
        world
    }

    fn configure(&mut self) {
        let recorder = Rc::new(Recorder {
            is_saturated: Rc::clone(&self.is_saturated),
            ..Recorder::default()
        });
        let client = ServiceClient::new(
            self.settings.clone(),
            recorder.clone(),
            recorder.clone(),
            self.shared.clone(),
            7,
        );
        self.configured.push(Configured {
            recorder,
            client,
            open: Vec::new(),
            leased: Vec::new(),
        });
    }

    fn current(&mut self) -> &mut Configured {
        self.configured.last_mut().unwrap()
    }

    /// Hands over what the configurations that were replaced have queued.
    fn hand_over(&self) {
        let (current, before) = self.configured.split_last().unwrap();
        for configured in before {
            configured.client.hand_over(self.now, &current.client);
        }
    }

    fn exchange(&mut self, caller: u32, cost: u64, excess: u64) {
        let now = self.now;
        let exchange = Exchange {
            call: CallId(0),
            caller,
            cost,
            excess,
        };
        self.current().check(now, exchange);
    }

    fn reload(&mut self, waits: bool) {
        self.configure();
        self.hand_over();
        if waits {
            return;
        }
        for index in 0..self.configured.len() - 1 {
            let calls = self.configured[index].recorder.calls.take();
            for (id, (method, message)) in calls {
                if id % 8 == 1 {
                    self.lose_reply(&method, &message);
                }
            }
            let now = self.now;
            let configured = &mut self.configured[index];
            for exchange in std::mem::take(&mut configured.open) {
                configured.settle(now, &exchange, None);
            }
            configured.settle_leased(now);
            configured.client.fail_calls(now);
        }
        self.hand_over();
        self.configured.drain(..self.configured.len() - 1);
    }

    /// A call has its effect, but no reply.
    fn lose_reply(&mut self, method: &str, message: &[u8]) {
        let before = self.limitador.total();
        let _ = self.limitador.call(method, message);
        self.uncertain += self.limitador.total() - before;
    }

    /// Returns the calls under way: the configuration and the number of each.
    fn calls(&self) -> Vec<(usize, u32)> {
        let configured = self.configured.iter().enumerate();
        let calls = configured.flat_map(|(index, it)| {
            let calls = it.recorder.calls.borrow();
            let calls: Vec<_> = calls.keys().map(|id| (index, *id)).collect();
            calls
        });
        calls.collect()
    }

    fn reply(&mut self, from: usize, failure: Failure) -> bool {
        let calls = self.calls();
        if calls.is_empty() {
            return false;
        }
        let (index, id) = calls[from % calls.len()];
        let call = self.configured[index]
            .recorder
            .calls
            .borrow_mut()
            .remove(&id);
        let (method, message) = call.unwrap();
        let reply: MockReply = match failure {
            Failure::None => self.limitador.call(&method, &message),
            Failure::Malformed => Ok(vec![0x0a, 0xff]),
            Failure::Status(status) => Err(status),
            Failure::ReplyLost => {
                self.lose_reply(&method, &message);
                Err(14)
            }
        };
        let now = self.now;
        let configured = &mut self.configured[index];
        let reply = reply.as_deref().map_err(|status| *status);
        let mut next = configured.client.on_reply(now, CallId(id), reply);
        while let Some(reply) = next.or_else(|| configured.client.next_ready()) {
            configured.on_check_reply(now, reply);
            next = None;
        }
        self.hand_over();
        true
    }

    /// The service replies to everything.
    fn settle_all(&mut self) {
        for _ in 0..1_000 {
            while self.reply(0, Failure::None) {}
            self.tick(50);
        }
    }

    fn tick(&mut self, milliseconds: u64) {
        self.now = self.now.saturating_add(Nanos::from_millis(milliseconds));
        for configured in &mut self.configured {
            configured.settle_leased(self.now);
            configured.client.on_tick(self.now);
        }
        self.hand_over();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn counted_usage_equals_settled_usage(
        events in events(),
        reserves in any::<bool>(),
        flush_ms in prop::sample::select(vec![0_u64, 20]),
        leases in any::<bool>(),
    ) {
        let protocol = if reserves { Protocol::Reserve } else { Protocol::CheckReport };
        let mut world = World::new(protocol, flush_ms, leases);
        let mut settled = [0; CALLERS as usize];
        for event in events {
            match event {
                Event::Exchanges { number, caller, cost, excess } => {
                    for _ in 0..number {
                        settled[usize::try_from(caller).unwrap()] += cost;
                        world.exchange(caller, cost, excess);
                    }
                }
                Event::Reply { from, calls, failure } => {
                    for _ in 0..calls {
                        world.reply(from, failure);
                    }
                }
                Event::Tick(milliseconds) => world.tick(milliseconds),
                Event::LacksReserve(lacks) => world.limitador.lacks_reserve = lacks,
                Event::Saturated(is_saturated) => world.is_saturated.set(is_saturated),
                Event::Reload { waits } => world.reload(waits),
            }
            for configured in &world.configured {
                prop_assert!(configured.settlements_under_way() <= MAX_CALLS);
            }
        }
        // The service works again, and every caller uses more than its credit.
        world.limitador.lacks_reserve = false;
        world.is_saturated.set(false);
        world.settle_all();
        for caller in 0..CALLERS {
            settled[usize::try_from(caller).unwrap()] += 2_000_000;
            world.exchange(caller, 2_000_000, 0);
        }
        world.settle_all();
        for configured in &world.configured {
            prop_assert!(configured.client.is_drained());
            prop_assert!(configured.open.is_empty());
            prop_assert_eq!(configured.recorder.pending.get(), 0);
        }
        prop_assert_eq!(world.current().recorder.open_circuits.get(), 0);
        let mut excess = 0;
        for (caller, settled) in settled.into_iter().enumerate() {
            let descriptor = &descriptors(1, u32::try_from(caller).unwrap()).descriptors[0];
            let counted = world.limitador.used.get(&("test".to_owned(), descriptor.clone()));
            let counted = counted.copied().unwrap_or_default();
            prop_assert!(counted >= settled, "{} of {}", counted, settled);
            excess += counted - settled;
        }
        // What was added by a call without a reply is added once more, and nothing else is.
        prop_assert!(excess <= world.uncertain, "{} of {}", excess, world.uncertain);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = message::read_reserve(&bytes);
        let _ = message::read_check(&bytes);
        let _ = message::read_commit(&bytes);
    }
}
