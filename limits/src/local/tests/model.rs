//! Random interleavings of requests on several workers, against a plain model.
//!
//! Whenever a worker is about to write a page, another may run a whole operation first, as happens
//! between the threads of an Envoy.

use super::shared::Shared;
use super::{
    Algorithm, LocalStore, NOW, Nanos, Rate, Reservation, Standing, Timestamp, Verdict, Window,
};
use crate::shared_data::{SharedData, SharedDataError};
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

const LIMIT: u64 = 100;

#[derive(Clone, Debug)]
enum Operation {
    /// A worker admits a request that reserves at these keys.
    Reserve {
        worker: usize,
        keys: Vec<u128>,
        amount: u64,
    },
    /// A worker settles one of the requests in flight, at first with another cost; a cost of 0 is an
    /// abort.
    Settle {
        worker: usize,
        request: usize,
        early: Option<u64>,
        cost: u64,
    },
    /// A request in flight is never settled: its worker died.
    Lose { request: usize },
    /// Time passes.
    Wait { time: Nanos },
    /// The clock is set back.
    StepBack { time: Nanos },
}

/// An operation, and one that another worker runs while it is under way.
type Step = (Operation, Option<Operation>);

#[derive(Clone, Debug)]
struct InFlight {
    id: u64,
    reservations: Vec<Reservation>,
}

/// What a counter must read: the hits of its current window, and the reservations that have not
/// expired.
#[derive(Clone, Debug, Default)]
struct Counter {
    begun: Option<Timestamp>,
    used: u64,
    /// Request, time of the reservation, amount.
    reservations: Vec<(u64, Timestamp, u64)>,
}

struct World {
    shared: Shared,
    rate: Rate,
    ttl: Nanos,
    workers: Vec<LocalStore>,
    now: Cell<Timestamp>,
    requests: Cell<u64>,
    in_flight: RefCell<Vec<InFlight>>,
    model: RefCell<HashMap<u128, Counter>>,
    intruder: RefCell<Option<Operation>>,
    /// Whether the model is exact, or else a lower bound.
    exact: bool,
    /// Whether the clock was ever set back.
    stepped: Cell<bool>,
}

impl SharedData for World {
    fn shared_data(&self, key: &[u8]) -> Result<Option<(Vec<u8>, u32)>, SharedDataError> {
        self.shared.shared_data(key)
    }

    fn set_shared_data(
        &self,
        key: &[u8],
        value: &[u8],
        expected: u32,
    ) -> Result<(), SharedDataError> {
        let intruder = self.intruder.borrow_mut().take();
        if let Some(operation) = intruder {
            self.run(&operation, true);
        }
        self.shared.set_shared_data(key, value, expected)
    }
}

impl Counter {
    fn reserved(&self) -> u64 {
        self.reservations.iter().map(|(_, _, amount)| amount).sum()
    }

    fn admits(&self, amount: u64) -> bool {
        let others = self.reserved();
        self.used + others < LIMIT && (others == 0 || self.used + others + amount <= LIMIT)
    }

    fn advance(&mut self, now: Timestamp, window: Window, ttl: Nanos) {
        if let Some(begun) = self.begun {
            let begun = begun.min(now);
            let end = match window.algorithm {
                Algorithm::Calendar => {
                    let into = Nanos::new(begun.as_u64() % window.length.as_u64());
                    begun.saturating_sub(into).saturating_add(window.length)
                }
                _ => begun.saturating_add(window.length),
            };
            self.begun = Some(begun);
            if now >= end {
                (self.begun, self.used) = (None, 0);
            }
        }
        for (_, made, _) in &mut self.reservations {
            *made = now.min(*made);
        }
        self.reservations
            .retain(|(_, made, _)| now < made.saturating_add(ttl));
        if self.used == 0 && self.reservations.is_empty() {
            self.begun = None;
        }
    }
}

impl World {
    fn new(window: Window, ttl: Nanos, max_counters: u32, exact: bool) -> Self {
        Self {
            shared: Shared::default(),
            rate: Rate::new(1, window),
            ttl,
            workers: (0..3).map(|_| LocalStore::new(max_counters)).collect(),
            now: Cell::new(NOW),
            requests: Cell::new(0),
            in_flight: RefCell::default(),
            model: RefCell::default(),
            intruder: RefCell::default(),
            exact,
            stepped: Cell::new(false),
        }
    }

    fn reservation(&self, key: u128, amount: u64) -> Reservation {
        Reservation::new(self.rate, key, LIMIT, amount)
    }

    /// Returns whether the model admits, key by key.
    fn admits(&self, keys: &[u128], amount: u64) -> Vec<bool> {
        let mut model = self.model.borrow_mut();
        let mut admits = |key: &u128| model.entry(*key).or_default().admits(amount);
        keys.iter().map(&mut admits).collect()
    }

    fn advance(&self) {
        for counter in self.model.borrow_mut().values_mut() {
            counter.advance(self.now.get(), self.rate.window(), self.ttl);
        }
    }

    fn take(&self, request: usize) -> Option<InFlight> {
        let mut in_flight = self.in_flight.borrow_mut();
        let count = in_flight.len();
        (count > 0).then(|| in_flight.swap_remove(request % count))
    }

    /// Returns whether a reservation of the request has expired. If the clock is then set back, its
    /// generation cannot be distinguished from a later one, whose reservations it may release early.
    fn has_expired(&self, request: &InFlight) -> bool {
        let model = self.model.borrow();
        let made = request.reservations.iter();
        let mut counters = made.filter_map(|made| model.get(&made.key));
        counters.any(|counter| {
            let mut reservations = counter.reservations.iter();
            reservations.all(|(id, _, _)| *id != request.id)
        })
    }

    fn run_all(&self, steps: &[Step]) {
        for (operation, intruder) in steps {
            *self.intruder.borrow_mut() = intruder.clone();
            self.run(operation, false);
        }
        *self.intruder.borrow_mut() = None;
    }

    fn run(&self, operation: &Operation, intruding: bool) {
        match operation {
            Operation::Reserve {
                worker,
                keys,
                amount,
            } => {
                self.reserve(&self.workers[*worker], keys, *amount, intruding);
            }
            Operation::Settle {
                worker,
                request,
                early,
                cost,
            } => {
                if let Some(request) = self.take(*request)
                    && !(self.stepped.get() && self.has_expired(&request))
                {
                    self.settle(&self.workers[*worker], request, *early, *cost);
                }
            }
            Operation::Lose { request } => {
                self.take(*request);
            }
            // While another operation is under way, its time is the time.
            Operation::Wait { .. } | Operation::StepBack { .. } if intruding => {}
            Operation::Wait { time } => self.now.set(self.now.get().saturating_add(*time)),
            Operation::StepBack { time } => {
                self.now.set(self.now.get().saturating_sub(*time));
                self.stepped.set(true);
            }
        }
        self.advance();
    }

    fn reserve(&self, worker: &LocalStore, keys: &[u128], amount: u64, intruding: bool) {
        let reservations = keys.iter().map(|key| self.reservation(*key, amount));
        let mut reservations: Vec<_> = reservations.collect();
        let now = self.now.get();
        let before = self.admits(keys, amount);
        let verdict = worker
            .reserve(self, now, &mut reservations, self.ttl)
            .unwrap();
        let after = self.admits(keys, amount);
        let undisturbed = !intruding && before == after;
        match verdict {
            Verdict::Admitted => {
                let mut either = before.iter().zip(&after);
                assert!(
                    either.all(|(before, after)| *before || *after),
                    "admitted against the rule"
                );
                if amount > 0 {
                    self.track(reservations);
                }
            }
            Verdict::Rejected { .. } if self.exact && undisturbed => {
                assert!(before.contains(&false), "rejected though there is room");
            }
            Verdict::Rejected { .. } => {}
        }
    }

    fn track(&self, reservations: Vec<Reservation>) {
        let (id, now) = (self.requests.get(), self.now.get());
        self.requests.set(id + 1);
        let mut model = self.model.borrow_mut();
        for made in &reservations {
            let counter = model.entry(made.key).or_default();
            counter.begun.get_or_insert(now);
            counter.reservations.push((id, now, made.amount));
        }
        let mut in_flight = self.in_flight.borrow_mut();
        in_flight.push(InFlight { id, reservations });
    }

    fn settle(&self, worker: &LocalStore, request: InFlight, early: Option<u64>, cost: u64) {
        let InFlight {
            id,
            mut reservations,
        } = request;
        let now = self.now.get();
        for cost in early.into_iter().chain([cost]) {
            for reservation in &mut reservations {
                reservation.cost = cost;
            }
            worker.settle(self, now, &mut reservations).unwrap();
        }
        let mut model = self.model.borrow_mut();
        for settled in &reservations {
            let counter = model.entry(settled.key).or_default();
            counter.reservations.retain(|(made, _, _)| *made != id);
            // A window that has begun with a charge does not end when the charge is taken back.
            if cost > 0 || early.is_some() {
                counter.begun.get_or_insert(now);
                counter.used += cost;
            }
        }
    }

    fn standing(&self, key: u128) -> Standing {
        let mut read = [self.reservation(key, 0)];
        let now = self.now.get();
        self.workers[0].settle(self, now, &mut read).unwrap();
        read[0].standing
    }

    /// Compares every counter with its model.
    fn check(&self) {
        let model = self.model.borrow().clone();
        for (key, counter) in model {
            let standing = self.standing(key);
            if self.exact {
                assert_eq!(standing.used, counter.used, "used of {key}");
                assert_eq!(standing.reserved, counter.reserved(), "reserved of {key}");
            } else {
                assert!(
                    standing.used >= counter.used,
                    "used of {key}: {standing:?} {counter:?}"
                );
                assert!(
                    standing.reserved >= counter.reserved(),
                    "reserved of {key}: {standing:?} {counter:?}"
                );
            }
        }
    }

    fn settle_all(&self) {
        while let Some(request) = self.take(0) {
            if !(self.stepped.get() && self.has_expired(&request)) {
                self.settle(&self.workers[0], request, None, 1);
            }
        }
        self.advance();
    }
}

fn window(algorithm: Algorithm, length: u64) -> Window {
    let length = Nanos::new(length);
    Window { algorithm, length }
}

fn operation(keys: u128, losses: u32) -> impl Strategy<Value = Operation> {
    let keys =
        prop::collection::hash_set(0..keys, 1..4).prop_map(|keys| keys.into_iter().collect());
    prop_oneof![
        // The pages of a check that reserves nothing serve the reservation that follows it.
        6 => (0..3_usize, keys, prop_oneof![1 => Just(0), 2 => 0..60_u64])
            .prop_map(|(worker, keys, amount)| Operation::Reserve { worker, keys, amount }),
        5 => (0..3_usize, 0..8_usize, prop::option::of(1..60_u64), prop_oneof![Just(0), 0..60_u64])
            .prop_map(|(worker, request, early, cost)| Operation::Settle { worker, request, early, cost }),
        1 => (0..40_u64).prop_map(|time| Operation::Wait { time: Nanos::new(time) }),
        losses => (0..8_usize).prop_map(|request| Operation::Lose { request }),
        losses => (0..80_u64).prop_map(|time| Operation::StepBack { time: Nanos::new(time) }),
    ]
}

fn steps(keys: u128, losses: u32) -> impl Strategy<Value = Vec<Step>> {
    let intruder = prop::option::of(operation(keys, losses));
    prop::collection::vec((operation(keys, losses), intruder), 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Few keys, no losses: the counters are exactly what the model says.
    #[test]
    fn counters_are_exact(steps in steps(6, 0), length in 1..200_u64, max_counters in 1..100_u32) {
        let world = World::new(window(Algorithm::Fixed, length), Nanos::new(u64::MAX / 4), max_counters, true);
        world.run_all(&steps);
        world.check();
        world.settle_all();
        world.check();
    }

    /// Lost requests and a clock that is set back: no request is admitted against the rule, nothing is
    /// forgotten too early, and in the end everything is.
    #[test]
    fn losses_and_clock_steps_underestimate_no_counter(
        steps in steps(6, 1),
        length in 1..200_u64,
        ttl in 1..200_u64,
    ) {
        let world = World::new(window(Algorithm::Calendar, length), Nanos::new(ttl), 12, false);
        world.run_all(&steps);
        world.check();
        world.settle_all();
        world.check();
        world.now.set(world.now.get().saturating_add(Nanos::new(2 * ttl.max(length))));
        for key in 0..6 {
            let standing = world.standing(key);
            prop_assert_eq!((standing.used, standing.reserved), (0, 0));
        }
    }

    /// Many more keys than a page has room for: a counter may read too high, never too low.
    #[test]
    fn counters_of_full_pages_never_read_too_low(
        steps in prop::collection::vec((operation(60, 1), prop::option::of(operation(60, 1))), 0..300),
        length in 50..2000_u64,
        ttl in 50..2000_u64,
    ) {
        let world = World::new(window(Algorithm::Calendar, length), Nanos::new(ttl), 12, false);
        for step in steps.chunks(10) {
            world.run_all(step);
            world.check();
        }
    }
}
