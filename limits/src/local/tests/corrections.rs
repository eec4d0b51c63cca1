//! A charge that is corrected: the counter stands as if it had been charged once.

use super::shared::Shared;
use super::{
    Algorithm, LocalStore, NOW, Nanos, Rate, Reservation, TTL, Timestamp, Verdict, Window,
};
use proptest::prelude::*;

const LENGTH: Nanos = Nanos::from_secs(60);

/// A counter, and the exchange that is charged to it.
struct Counter {
    store: LocalStore,
    shared: Shared,
    rate: Rate,
}

impl Counter {
    fn new(algorithm: Algorithm) -> Self {
        let window = Window {
            algorithm,
            length: LENGTH,
        };
        Self {
            store: LocalStore::new(12),
            shared: Shared::default(),
            rate: Rate::new(1, window),
        }
    }

    fn admit(&self, now: Timestamp, amount: u64) -> [Reservation; 1] {
        let mut made = [Reservation::new(self.rate, 7, 1_000, amount)];
        let verdict = self.store.reserve(&self.shared, now, &mut made, TTL);
        assert_eq!(verdict, Ok(Verdict::Admitted));
        made
    }

    fn settle(&self, now: Timestamp, made: &mut [Reservation; 1], cost: u64) {
        made[0].cost = cost;
        self.store.settle(&self.shared, now, made).unwrap();
    }

    /// Charges an exchange of another cost.
    fn hit(&self, now: Timestamp, cost: u64) {
        self.settle(now, &mut self.admit(now, 1), cost);
    }

    fn used(&self, now: Timestamp) -> u64 {
        let mut read = [Reservation::new(self.rate, 7, 1_000, 0)];
        self.settle(now, &mut read, 0);
        read[0].standing.used
    }
}

/// Returns exchanges of others: the milliseconds until each, and its cost.
fn hits() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0..30_000_u64, 1..30_u64), 0..4)
}

fn algorithm() -> impl Strategy<Value = Algorithm> {
    prop::sample::select(vec![
        Algorithm::Fixed,
        Algorithm::Calendar,
        Algorithm::Sliding,
        Algorithm::Bucket,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn corrected_charge_equals_one_of_final_cost(
        algorithm in algorithm(),
        [before, between, after] in [hits(), hits(), hits()],
        [wait, last] in [0..100_000_u64, 0..100_000_u64],
        reserved in 0..40_u64,
        [early, cost] in [0..60_u64, 1..60_u64],
    ) {
        let [corrected, once, early_only] = [(); 3].map(|()| Counter::new(algorithm));
        let all = [&corrected, &once, &early_only];
        let mut now = NOW;
        let run = |now: &mut Timestamp, hits: &[(u64, u64)]| {
            for (wait, cost) in hits {
                *now = now.saturating_add(Nanos::from_millis(*wait));
                for counter in all {
                    counter.hit(*now, *cost);
                }
            }
        };
        run(&mut now, &before);
        let mut made = all.map(|counter| counter.admit(now, reserved.max(1)));
        corrected.settle(now, &mut made[0], early);
        once.settle(now, &mut made[1], early.min(cost));
        early_only.settle(now, &mut made[2], early);
        run(&mut now, &between);
        now = now.saturating_add(Nanos::from_millis(wait));
        corrected.settle(now, &mut made[0], cost);
        if cost > early {
            // What is found to be missing counts from when it is found.
            once.hit(now, cost - early);
        }
        run(&mut now, &after);
        for wait in [0, last] {
            now = now.saturating_add(Nanos::from_millis(wait));
            let (used, expected) = (corrected.used(now), once.used(now));
            // A bucket that others draw on meanwhile may keep more than it has to.
            if algorithm == Algorithm::Bucket && !between.is_empty() {
                prop_assert!(used >= expected, "{used} {expected}");
            } else if early > 0 || algorithm != Algorithm::Fixed {
                prop_assert_eq!(used, expected);
            }
            if cost < early {
                prop_assert!(used <= early_only.used(now));
            }
        }
    }
}

#[test]
fn correction_of_ended_window_leaves_next_unchanged() {
    for algorithm in [Algorithm::Fixed, Algorithm::Calendar] {
        let counter = Counter::new(algorithm);
        let mut made = counter.admit(NOW, 50);
        counter.settle(NOW, &mut made, 50);
        let next = NOW.saturating_add(LENGTH);
        counter.hit(next, 30);
        counter.settle(next, &mut made, 10);
        assert_eq!(counter.used(next), 30, "{algorithm:?}");
    }
}

#[test]
fn charge_is_reduced_only_once() {
    for algorithm in [Algorithm::Fixed, Algorithm::Sliding, Algorithm::Bucket] {
        let counter = Counter::new(algorithm);
        let mut made = counter.admit(NOW, 50);
        for (cost, used) in [(50, 50), (50, 50), (20, 20), (10, 20), (40, 50)] {
            counter.settle(NOW, &mut made, cost);
            assert_eq!(counter.used(NOW), used, "{algorithm:?} {cost}");
        }
        assert_eq!(made[0].charged.unwrap().cost(), 40);
    }
}
