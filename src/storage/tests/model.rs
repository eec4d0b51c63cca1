//! Random interleavings of requests on several workers, against a plain model.
//!
//! Whenever a worker is about to write a page, another may run a whole operation first, as happens
//! between the threads of an Envoy.

use super::{NOW, claim};
use crate::host::double::Double;
use crate::host::{Result, SharedData};
use crate::storage::{Algorithm, Claim, Local, Rate, Standing, Ticket, Verdict, Window};
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

const LIMIT: u64 = 100;

#[derive(Clone, Debug)]
enum Operation {
    /// A worker admits a request that has claims on these keys.
    Admit {
        worker: usize,
        keys: Vec<u128>,
        hold: u64,
    },
    /// A worker settles one of the requests in flight; a cost of 0 is an abort.
    Settle {
        worker: usize,
        request: usize,
        cost: u64,
    },
    /// A request in flight is never settled: its worker died.
    Lose { request: usize },
    /// Time passes.
    Wait { time: u64 },
    /// The clock is set back.
    StepBack { time: u64 },
}

/// An operation, and one that another worker runs while it is under way.
type Step = (Operation, Option<Operation>);

#[derive(Clone, Debug)]
struct InFlight {
    id: u64,
    keys: Vec<u128>,
    hold: u64,
    tickets: Vec<Ticket>,
}

/// What a counter must read: the hits of its present window, and the holds not yet due to be
/// forgotten.
#[derive(Clone, Debug, Default)]
struct Counter {
    begun: Option<u64>,
    used: u64,
    /// Request, time of placement, amount.
    holds: Vec<(u64, u64, u64)>,
}

struct World {
    double: Double,
    rate: Rate,
    ttl: u64,
    workers: Vec<Local>,
    now: Cell<u64>,
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
    fn shared_data(&self, key: &[u8]) -> Result<Option<(Vec<u8>, u32)>> {
        self.double.shared_data(key)
    }

    fn set_shared_data(&self, key: &[u8], value: &[u8], expected: u32) -> Result<()> {
        let intruder = self.intruder.borrow_mut().take();
        if let Some(operation) = intruder {
            self.run(&operation, true);
        }
        self.double.set_shared_data(key, value, expected)
    }
}

impl Counter {
    fn held(&self) -> u64 {
        self.holds.iter().map(|(_, _, amount)| amount).sum()
    }

    fn admits(&self, hold: u64) -> bool {
        let others = self.held();
        self.used + others < LIMIT && (others == 0 || self.used + others + hold <= LIMIT)
    }

    fn advance(&mut self, now: u64, window: Window, ttl: u64) {
        if let Some(begun) = self.begun {
            let begun = begun.min(now);
            let end = match window.algorithm {
                Algorithm::Calendar => begun - begun % window.length + window.length,
                _ => begun + window.length,
            };
            self.begun = Some(begun);
            if now >= end {
                (self.begun, self.used) = (None, 0);
            }
        }
        for (_, placed, _) in &mut self.holds {
            *placed = now.min(*placed);
        }
        self.holds.retain(|(_, placed, _)| now < placed + ttl);
        if self.used == 0 && self.holds.is_empty() {
            self.begun = None;
        }
    }
}

impl World {
    fn new(algorithm: Algorithm, length: u64, ttl: u64, max_counters: u32, exact: bool) -> Self {
        Self {
            double: Double::default(),
            rate: Rate::new(1, Window { algorithm, length }),
            ttl,
            workers: (0..3).map(|_| Local::new(max_counters)).collect(),
            now: Cell::new(NOW),
            requests: Cell::new(0),
            in_flight: RefCell::default(),
            model: RefCell::default(),
            intruder: RefCell::default(),
            exact,
            stepped: Cell::new(false),
        }
    }

    fn claims(&self, keys: &[u128], hold: u64) -> Vec<Claim<'_>> {
        let keys = keys.iter();
        keys.map(|key| claim(&self.rate, *key, LIMIT, hold))
            .collect()
    }

    /// Whether the model admits, key by key.
    fn admits(&self, keys: &[u128], hold: u64) -> Vec<bool> {
        let mut model = self.model.borrow_mut();
        let mut admits = |key: &u128| model.entry(*key).or_default().admits(hold);
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

    /// Whether a hold of the request was forgotten. When the clock is then set back, its generation
    /// cannot be told from a later one, whose holds it may release early.
    fn is_forgotten(&self, request: &InFlight) -> bool {
        let model = self.model.borrow();
        let mut counters = request.keys.iter().filter_map(|key| model.get(key));
        counters.any(|counter| counter.holds.iter().all(|(id, _, _)| *id != request.id))
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
            Operation::Admit { worker, keys, hold } => {
                self.admit(&self.workers[*worker], keys, *hold, intruding);
            }
            Operation::Settle {
                worker,
                request,
                cost,
            } => {
                if let Some(request) = self.take(*request)
                    && !(self.stepped.get() && self.is_forgotten(&request))
                {
                    self.settle(&self.workers[*worker], &request, *cost);
                }
            }
            Operation::Lose { request } => {
                self.take(*request);
            }
            // While another operation is under way, its time is the time.
            Operation::Wait { .. } | Operation::StepBack { .. } if intruding => {}
            Operation::Wait { time } => self.now.set(self.now.get() + time),
            Operation::StepBack { time } => {
                self.now.set(self.now.get() - time);
                self.stepped.set(true);
            }
        }
        self.advance();
    }

    fn admit(&self, worker: &Local, keys: &[u128], hold: u64, intruding: bool) {
        let claims = self.claims(keys, hold);
        let (mut tickets, mut standings) = (Vec::new(), Vec::new());
        let now = self.now.get();
        let before = self.admits(keys, hold);
        let verdict = worker
            .admit(self, now, &claims, self.ttl, &mut tickets, &mut standings)
            .unwrap();
        let after = self.admits(keys, hold);
        let undisturbed = !intruding && before == after;
        match verdict {
            Verdict::Admitted => {
                let mut either = before.iter().zip(&after);
                assert!(
                    either.all(|(before, after)| *before || *after),
                    "past the rule"
                );
                if hold > 0 {
                    self.hold(keys, hold, tickets);
                }
            }
            Verdict::Denied { .. } if self.exact && undisturbed => {
                assert!(before.contains(&false), "refused though there is room");
            }
            Verdict::Denied { .. } => {}
        }
    }

    fn hold(&self, keys: &[u128], hold: u64, tickets: Vec<Ticket>) {
        let (id, now) = (self.requests.get(), self.now.get());
        self.requests.set(id + 1);
        let mut model = self.model.borrow_mut();
        for key in keys {
            let counter = model.entry(*key).or_default();
            counter.begun.get_or_insert(now);
            counter.holds.push((id, now, hold));
        }
        let keys = keys.to_vec();
        self.in_flight.borrow_mut().push(InFlight {
            id,
            keys,
            hold,
            tickets,
        });
    }

    fn settle(&self, worker: &Local, request: &InFlight, cost: u64) {
        let claims = self.claims(&request.keys, request.hold);
        let costs = vec![cost; claims.len()];
        let now = self.now.get();
        let mut standings = Vec::new();
        worker
            .settle(self, now, &claims, &request.tickets, &costs, &mut standings)
            .unwrap();
        let mut model = self.model.borrow_mut();
        for key in &request.keys {
            let counter = model.entry(*key).or_default();
            counter.holds.retain(|(id, _, _)| *id != request.id);
            if cost > 0 {
                counter.begun.get_or_insert(now);
                counter.used += cost;
            }
        }
    }

    fn standing(&self, key: u128) -> Standing {
        let mut standings = Vec::new();
        self.workers[0]
            .settle(
                self,
                self.now.get(),
                &self.claims(&[key], 0),
                &[],
                &[],
                &mut standings,
            )
            .unwrap();
        standings[0]
    }

    /// Compares every counter with its model.
    fn check(&self) {
        let model = self.model.borrow().clone();
        for (key, counter) in model {
            let standing = self.standing(key);
            if self.exact {
                assert_eq!(standing.used, counter.used, "used of {key}");
                assert_eq!(standing.held, counter.held(), "held of {key}");
            } else {
                assert!(
                    standing.used >= counter.used,
                    "used of {key}: {standing:?} {counter:?}"
                );
                assert!(
                    standing.held >= counter.held(),
                    "held of {key}: {standing:?} {counter:?}"
                );
            }
        }
    }

    fn settle_all(&self) {
        while let Some(request) = self.take(0) {
            if !(self.stepped.get() && self.is_forgotten(&request)) {
                self.settle(&self.workers[0], &request, 1);
            }
        }
        self.advance();
    }
}

fn operation(keys: u128, losses: u32) -> impl Strategy<Value = Operation> {
    let keys =
        prop::collection::hash_set(0..keys, 1..4).prop_map(|keys| keys.into_iter().collect());
    prop_oneof![
        // Nothing is held at a first look, whose pages serve the last.
        6 => (0..3_usize, keys, prop_oneof![1 => Just(0), 2 => 0..60_u64])
            .prop_map(|(worker, keys, hold)| Operation::Admit { worker, keys, hold }),
        5 => (0..3_usize, 0..8_usize, prop_oneof![Just(0), 0..60_u64])
            .prop_map(|(worker, request, cost)| Operation::Settle { worker, request, cost }),
        1 => (0..40_u64).prop_map(|time| Operation::Wait { time }),
        losses => (0..8_usize).prop_map(|request| Operation::Lose { request }),
        losses => (0..80_u64).prop_map(|time| Operation::StepBack { time }),
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
        let world = World::new(Algorithm::Fixed, length, u64::MAX / 4, max_counters, true);
        world.run_all(&steps);
        world.check();
        world.settle_all();
        world.check();
    }

    /// Lost requests and a clock that is set back: nobody gets past the rule, nothing is forgotten
    /// too early, and in the end everything is.
    #[test]
    fn losses_and_clock_steps_free_nobody(
        steps in steps(6, 1),
        length in 1..200_u64,
        ttl in 1..200_u64,
    ) {
        let world = World::new(Algorithm::Calendar, length, ttl, 12, false);
        world.run_all(&steps);
        world.check();
        world.settle_all();
        world.check();
        world.now.set(world.now.get() + 2 * ttl.max(length));
        for key in 0..6 {
            let standing = world.standing(key);
            prop_assert_eq!((standing.used, standing.held), (0, 0));
        }
    }

    /// Many more keys than a page has room for: a counter may read too high, never too low.
    #[test]
    fn crowded_counters_never_read_too_low(
        steps in prop::collection::vec((operation(60, 1), prop::option::of(operation(60, 1))), 0..300),
        length in 50..2000_u64,
        ttl in 50..2000_u64,
    ) {
        let world = World::new(Algorithm::Calendar, length, ttl, 12, false);
        for step in steps.chunks(10) {
            world.run_all(step);
            world.check();
        }
    }
}
