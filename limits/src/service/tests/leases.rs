//! The table of leases, against a simple model of the service.

mod random_events;

use super::super::lease::{Ended, Step};
use super::super::leases::{LeaseCall, Leases, MAX_LEASES};
use super::super::{LeaseDemand, LeaseHold, LeaseSettings, LeaseUnit, ReservationId};
use super::descriptors;
use super::wire::NOW;
use crate::time::{Nanos, Timestamp};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

const TTL: Nanos = Nanos::from_secs(10);

/// A service with one counter, and a worker that has a lease of it.
struct World {
    leases: Rc<RefCell<Leases>>,
    now: Timestamp,
    limit: u64,
    committed: u64,
    /// The reservations, each with its amount and its end.
    reserved: BTreeMap<u32, (u64, Timestamp)>,
    granted: u32,
    /// The calls that have no reply yet, each with its grant.
    calls: Vec<(LeaseCall, Option<u32>)>,
    /// The reservations that were committed.
    ended: Vec<u32>,
    exchanges: Vec<Exchange>,
    /// The usage of all exchanges.
    used: u64,
    /// The grants whose replies were lost.
    lost: u32,
    /// Whether something that requests in flight hold was not reserved.
    is_exposed: bool,
}

/// An exchange in flight.
struct Exchange {
    hold: Option<LeaseHold>,
    reservation: Option<u32>,
    amount: u64,
}

fn number(reservation: &ReservationId) -> u32 {
    reservation.0.parse().unwrap()
}

impl World {
    fn new(limit: u64, tokens: u64) -> Self {
        let settings = LeaseSettings {
            tokens,
            requests: 100,
            ttl: TTL,
        };
        Self {
            leases: Rc::new(RefCell::new(Leases::new(settings))),
            now: NOW,
            limit,
            committed: 0,
            reserved: BTreeMap::new(),
            granted: 0,
            calls: Vec::new(),
            ended: Vec::new(),
            exchanges: Vec::new(),
            used: 0,
            lost: 0,
            is_exposed: false,
        }
    }

    fn taken(&self) -> u64 {
        let live = self.reserved.values();
        let live = live.filter(|(_, ends)| self.now < *ends);
        self.committed + live.map(|(amount, _)| amount).sum::<u64>()
    }

    fn reserve(&mut self, amount: u64, ttl: Nanos) -> Option<u32> {
        if self.taken() + amount > self.limit {
            return None;
        }
        self.granted += 1;
        let ends = self.now.saturating_add(ttl);
        self.reserved.insert(self.granted, (amount, ends));
        Some(self.granted)
    }

    fn commit(&mut self, reservation: u32, used: u64) {
        let (amount, ends) = self.reserved.remove(&reservation).unwrap();
        assert!(used <= amount, "{used} of {amount}");
        self.is_exposed |= ends <= self.now && !self.exchanges.is_empty();
        self.ended.push(reservation);
        self.committed += used;
    }

    fn take(&mut self, call: Option<LeaseCall>) {
        let Some(call) = call else { return };
        match &call.step {
            Step::Reserve(amount) => {
                let grant = self.reserve(*amount, TTL.saturating_mul(2));
                self.calls.push((call, grant));
            }
            Step::Commit(Ended { reservation, used }) => {
                self.commit(number(reservation), *used);
            }
        }
    }

    fn demand(&self, amount: u64) -> LeaseDemand {
        LeaseDemand {
            id: 7,
            unit: LeaseUnit::Tokens,
            amount,
            remaining: self.limit.saturating_sub(self.used),
            window_ends: Timestamp::MAX,
        }
    }

    /// A request comes. Returns whether it is admitted.
    fn request(&mut self, amount: u64) -> bool {
        let demand = self.demand(amount);
        let hold = Leases::hold(&self.leases, self.now, &demand);
        let call = self
            .leases
            .borrow_mut()
            .request(self.now, &demand, true, || {
                Some((*descriptors(1, 1)).clone())
            });
        self.take(call);
        let leased = hold.as_ref().map_or(0, LeaseHold::amount);
        assert!(leased <= amount);
        let rest = amount - leased;
        let reservation = if rest == 0 {
            None
        } else if let Some(reservation) = self.reserve(rest, Nanos::DAY) {
            Some(reservation)
        } else {
            return false;
        };
        self.exchanges.push(Exchange {
            hold,
            reservation,
            amount,
        });
        true
    }

    fn settle(&mut self, position: usize, cost: u64) {
        let mut exchange = self.exchanges.remove(position);
        self.used += cost;
        let rest = match (exchange.reservation, &mut exchange.hold) {
            (Some(reservation), hold) => {
                self.reserved.remove(&reservation);
                if let Some(hold) = hold {
                    assert_eq!(hold.settle(0), 0);
                }
                cost
            }
            (None, Some(hold)) => hold.settle(cost),
            (None, None) => unreachable!("a request that is admitted holds or reserves its amount"),
        };
        self.committed += rest;
    }

    fn reply(&mut self, position: usize, is_lost: bool) {
        let (call, grant) = self.calls.remove(position);
        let LeaseCall { id, number, .. } = call;
        if let Some(grant) = grant.filter(|_| !is_lost) {
            let reservation = ReservationId(grant.to_string());
            let ended = self.leases.borrow_mut().grant(id, number, reservation);
            if let Some(Ended { reservation, used }) = ended {
                self.commit(super::leases::number(&reservation), used);
            }
            return;
        }
        if let Some(grant) = grant {
            // It expires.
            self.lost += 1;
            self.ended.push(grant);
        }
        self.leases.borrow_mut().deny(self.now, id, number);
    }

    fn tick(&mut self, milliseconds: u64) {
        self.now = self.now.saturating_add(Nanos::from_millis(milliseconds));
        let calls = self.leases.borrow_mut().due(self.now, true);
        for call in calls {
            self.take(Some(call));
        }
    }

    /// A busy counter gets its first slice.
    fn lease(&mut self, amount: u64) {
        assert!(self.request(amount) && self.request(amount));
        self.reply(0, false);
    }

    fn tokens(&self) -> u64 {
        self.leases.borrow().tokens()
    }
}

#[test]
fn second_request_within_a_second_starts_lease() {
    for (milliseconds, calls) in [(1_000, 1), (1_001, 0)] {
        let mut world = World::new(10_000, 500);
        world.request(10);
        world.tick(milliseconds);
        world.request(10);
        assert_eq!(world.calls.len(), calls);
        world.request(10);
        assert_eq!(world.calls.len(), 1, "one is enough");
    }
}

#[test]
fn slice_is_a_tenth_of_what_is_left() {
    for (limit, amount, slice) in [
        (10_000, 10, Some(500)),
        (4_000, 10, Some(400)),
        (4_000, 200, Some(400)),
        // No slice has room for less than two requests.
        (4_000, 201, None),
        (19, 1, None),
    ] {
        let mut world = World::new(limit, 500);
        world.request(amount);
        world.request(amount);
        let reserved = world.calls.first().map(|(call, _)| &call.step);
        assert_eq!(reserved, slice.map(Step::Reserve).as_ref(), "{limit}");
    }
}

#[test]
fn requests_in_slice_make_no_call() {
    let mut world = World::new(100_000, 1_000);
    world.lease(10);
    let reserved = world.granted;
    for _ in 0..70 {
        assert!(world.request(10));
        world.settle(2, 8);
    }
    assert_eq!(world.granted, reserved);
    // Of the slice 560 are used: more than three quarters bring the next, and one commit.
    while world.calls.is_empty() {
        assert!(world.request(10));
        world.settle(2, 10);
    }
    assert_eq!(world.granted, reserved + 1);
    world.reply(0, false);
    assert_eq!(world.ended, [2]);
    assert_eq!(world.committed, world.used);
}

#[test]
fn idle_slice_is_released_with_its_end() {
    let mut world = World::new(100_000, 1_000);
    world.lease(10);
    world.settle(0, 10);
    world.settle(0, 10);
    assert!(world.request(10));
    world.settle(0, 7);
    world.tick(9_999);
    assert_eq!((world.tokens(), world.ended.len()), (1_000, 0));
    world.tick(1);
    assert_eq!((world.tokens(), &*world.ended), (0, &[2][..]));
    assert_eq!(world.committed, 27);
    world.tick(1_000);
    assert!(world.leases.borrow().is_empty() && world.calls.is_empty());
}

#[test]
fn slice_in_use_is_replaced_before_its_end() {
    let mut world = World::new(100_000, 1_000);
    world.lease(10);
    for _ in 0..2 {
        assert!(world.request(10));
    }
    world.tick(7_999);
    assert!(world.calls.is_empty());
    world.tick(1);
    let (call, _) = &world.calls[0];
    // What the two requests in flight hold passes on to it.
    assert_eq!(call.step, Step::Reserve(1_020));
    world.reply(0, false);
    world.settle(2, 10);
    world.settle(2, 10);
    world.tick(0);
    assert_eq!((world.tokens(), world.committed), (1_020, 0));
}

#[test]
fn requests_in_flight_stay_reserved_after_the_end() {
    let mut world = World::new(100_000, 1_000);
    world.lease(10);
    assert!(world.request(30));
    for _ in 0..5 {
        world.tick(10_000);
        let (call, _) = &world.calls[0];
        assert_eq!(call.step, Step::Reserve(30), "only what is held");
        world.reply(0, false);
        assert!(!world.is_exposed);
        assert_eq!(world.tokens(), 30);
    }
    // Such a slice admits none, and a busy counter gets another at once.
    world.request(10);
    assert!(world.calls.is_empty());
    world.request(10);
    let (call, _) = &world.calls[0];
    assert_eq!(call.step, Step::Reserve(1_030));
}

#[test]
fn cost_beyond_slice_is_reported() {
    let mut world = World::new(100_000, 100);
    world.lease(10);
    assert!(world.request(10));
    let mut exchange = world.exchanges.pop().unwrap();
    let hold = exchange.hold.as_mut().unwrap();
    assert_eq!(hold.settle(250), 150);
    // A later correction upwards finds no room either.
    assert_eq!(hold.settle(5), 5);
    assert_eq!(hold.credit(30), 0);
    assert_eq!(hold.credit(100), 30);
}

#[test]
fn dropped_hold_is_released() {
    let mut world = World::new(100_000, 100);
    world.lease(10);
    assert!(world.request(50));
    assert!(world.request(50));
    world.exchanges.clear();
    assert!(world.request(100));
    let held = world.exchanges[0].hold.as_ref().map(LeaseHold::amount);
    assert_eq!(held, Some(100));
}

#[test]
fn rejected_slice_is_tried_again_later() {
    let mut world = World::new(1_000, 100);
    world.committed = 950;
    world.request(10);
    world.request(10);
    world.reply(0, false);
    for (milliseconds, calls) in [(999, 0), (1, 1), (1_999, 0), (1, 1), (3_999, 0), (1, 1)] {
        world.tick(milliseconds);
        world.request(1);
        world.request(1);
        assert_eq!(world.calls.len(), calls);
        if calls > 0 {
            world.reply(0, false);
        }
    }
}

#[test]
fn slice_ends_before_its_window() {
    let mut world = World::new(100_000, 1_000);
    world.lease(10);
    let reserved = world.granted;
    let ends = world.now.saturating_add(Nanos::from_secs(8));
    let demand = |world: &World| LeaseDemand {
        window_ends: ends,
        ..world.demand(10)
    };
    // The next slice ends a second before the window, so that what was used is committed in it.
    for _ in 0..90 {
        let demand = demand(&world);
        if let Some(mut hold) = Leases::hold(&world.leases, world.now, &demand) {
            assert_eq!(hold.settle(10), 0);
        }
        let mut leases = world.leases.borrow_mut();
        let call = leases.request(world.now, &demand, true, || None);
        drop(leases);
        world.take(call);
    }
    assert_eq!(world.granted, reserved + 1);
    world.reply(0, false);
    world.tick(6_999);
    let hold = Leases::hold(&world.leases, world.now, &demand(&world));
    assert_eq!(hold.as_ref().map(LeaseHold::amount), Some(10));
    drop(hold);
    world.tick(1);
    assert!(Leases::hold(&world.leases, world.now, &demand(&world)).is_none());
    assert_eq!(world.tokens(), 0);
}

#[test]
fn clock_that_steps_back_ends_slices() {
    let mut world = World::new(100_000, 1_000);
    world.lease(10);
    world.tick(1);
    world.now = world.now.saturating_sub(Nanos::from_secs(6));
    world.tick(0);
    assert_eq!((world.tokens(), &*world.ended), (0, &[2][..]));
    // The slices of the new time are leases as before.
    world.request(10);
    world.request(10);
    world.reply(0, false);
    assert_eq!(world.tokens(), 1_000);
}

#[test]
fn flood_of_callers_takes_no_leases() {
    let mut world = World::new(1_000_000, 1_000);
    let of_caller = |caller: u128, world: &mut World| {
        let demand = LeaseDemand {
            id: caller.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
            ..world.demand(10)
        };
        let mut leases = world.leases.borrow_mut();
        let call = leases.request(world.now, &demand, true, || {
            Some((*descriptors(1, u32::try_from(caller).unwrap())).clone())
        });
        call.is_some()
    };
    assert!((1..100_000).all(|caller| !of_caller(caller, &mut world)));
    // Busy ones are bounded, and a lease that is there stays.
    let busy = (1..3_000).filter(|&caller| {
        of_caller(caller, &mut world);
        of_caller(caller, &mut world)
    });
    assert_eq!(busy.count(), MAX_LEASES);
}
