//! Random events in the life of a lease: each cost is committed once, and no slice is exceeded.

use super::World;
use crate::time::Nanos;
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Event {
    Request(u64),
    /// An exchange in flight ends, with a part of what it reserved in hundredths.
    Settle(usize, u64),
    /// It ends without a settlement.
    Drop(usize),
    Reply(usize, bool),
    Tick(u64),
    Others(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        8 => (1..60_u64).prop_map(Event::Request),
        6 => (any::<usize>(), 0..150_u64).prop_map(|(at, part)| Event::Settle(at, part)),
        1 => any::<usize>().prop_map(Event::Drop),
        4 => (any::<usize>(), prop::bool::weighted(0.1)).prop_map(|(at, lost)| Event::Reply(at, lost)),
        3 => (0..3_000_u64).prop_map(Event::Tick),
        1 => (5_000..30_000_u64).prop_map(Event::Tick),
        1 => (1..200_u64).prop_map(Event::Others),
    ];
    vec(event, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn slices_are_committed_once_and_never_exceeded(
        events in events(),
        limit in 1_000..20_000_u64,
        tokens in 10..2_000_u64,
        exceeds in any::<bool>(),
    ) {
        let mut world = World::new(limit, tokens);
        let mut others = 0;
        // What exchanges used beyond what they reserved.
        let mut beyond = 0;
        for event in events {
            match event {
                Event::Request(amount) => {
                    let held = world.exchanges.iter().map(|it| it.amount).sum::<u64>();
                    // A slice that is over and cannot be renewed keeps its rest until it is committed.
                    let is_over = world.leases.borrow().is_over(7, world.now);
                    let is_known = world.calls.is_empty() && world.lost == 0 && !is_over;
                    let used = world.used + others;
                    let admitted = world.request(amount);
                    // A lease of its own rejects no request.
                    if is_known && !admitted && world.calls.is_empty() {
                        prop_assert!(used + held + amount > limit, "{used} {held} {amount}");
                    }
                }
                Event::Settle(at, part) if !world.exchanges.is_empty() => {
                    let at = at % world.exchanges.len();
                    let amount = world.exchanges[at].amount;
                    let part = if exceeds { part } else { part.min(100) };
                    let cost = amount * part / 100;
                    beyond += cost.saturating_sub(amount);
                    world.settle(at, cost);
                }
                Event::Drop(at) if !world.exchanges.is_empty() => {
                    let at = at % world.exchanges.len();
                    let exchange = world.exchanges.remove(at);
                    if let Some(reservation) = exchange.reservation {
                        world.reserved.remove(&reservation);
                    }
                }
                Event::Reply(at, lost) if !world.calls.is_empty() => {
                    let at = at % world.calls.len();
                    world.reply(at, lost);
                }
                Event::Tick(milliseconds) => world.tick(milliseconds),
                Event::Others(amount) if world.taken() + amount <= limit => {
                    world.committed += amount;
                    others += amount;
                }
                _ => {}
            }
            if !world.is_exposed {
                prop_assert!(world.committed <= limit + beyond, "{}", world.committed);
            }
        }
        // All leases end.
        world.leases.borrow_mut().end();
        while !world.calls.is_empty() {
            world.reply(0, false);
        }
        while !world.exchanges.is_empty() {
            world.settle(0, 1);
        }
        world.tick(0);
        prop_assert!(world.leases.borrow().is_empty());
        prop_assert_eq!(world.committed, world.used + others, "each cost is counted once");
        let mut ended = world.ended.clone();
        ended.sort_unstable();
        ended.dedup();
        prop_assert_eq!(ended.len(), world.ended.len());
        // Lost grants expire.
        world.now = world.now.saturating_add(Nanos::HOUR);
        prop_assert_eq!(world.taken(), world.committed);
    }
}
