//! Counters that are read without a request, and usage that is taken back.

use super::*;
use proptest::prelude::*;
use proptest::sample::select;

/// Returns a store whose counter has this usage, with a reservation of 7 beside it.
fn used(shared: &Shared, rate: Rate, amounts: &[(u64, u64)]) -> (LocalStore, Reservation) {
    let store = LocalStore::new(64);
    for &(at, amount) in amounts {
        let mut hit = [Reservation::new(rate, 5, 1_000, 1)];
        store.reserve(shared, seconds(at), &mut hit, TTL).unwrap();
        hit[0].cost = amount;
        store.settle(shared, seconds(at), &mut hit).unwrap();
    }
    (store, Reservation::new(rate, 5, 1_000, 0))
}

#[test]
fn reading_writes_nothing() {
    let shared = Shared::default();
    let rate = per_minute(1);
    let (store, inspecting) = used(&shared, rate, &[(0, 30)]);
    let mut held = [Reservation::new(rate, 5, 1_000, 7)];
    store.reserve(&shared, seconds(1), &mut held, TTL).unwrap();
    let before = shared.writes.count();
    let mut inspected = [inspecting, Reservation::new(rate, 6, 1_000, 0)];
    store.read(&shared, seconds(1), &mut inspected).unwrap();
    let [known, unknown] = inspected.map(|inspecting| inspecting.standing);
    assert_eq!((known.used, known.reserved), (30, 7));
    assert_eq!(known.resets_at, seconds(60));
    assert_eq!((unknown.used, unknown.reserved), (0, 0));
    assert_eq!(shared.writes.count(), before);
}

#[test]
fn exhausted_counter_has_its_reset() {
    let shared = Shared::default();
    let (store, inspecting) = used(&shared, per_minute(1), &[(0, 2_000)]);
    let mut inspected = [inspecting];
    store.read(&shared, seconds(10), &mut inspected).unwrap();
    assert_eq!(inspected[0].standing.used, 2_000);
    assert_eq!(inspected[0].standing.resets_at, seconds(60));
}

#[test]
fn reset_leaves_reservations() {
    let shared = Shared::default();
    let rate = per_minute(1);
    let (store, inspecting) = used(&shared, rate, &[(0, 990)]);
    let mut held = [Reservation::new(rate, 5, 1_000, 7)];
    store.reserve(&shared, seconds(1), &mut held, TTL).unwrap();
    let mut inspected = [inspecting];
    let taken = store
        .credit(&shared, seconds(2), &mut inspected, u64::MAX)
        .unwrap();
    assert_eq!(taken, 990);
    let standing = inspected[0].standing;
    assert_eq!((standing.used, standing.reserved), (0, 7));
    held[0].cost = 5;
    store.settle(&shared, seconds(3), &mut held).unwrap();
    assert_eq!((held[0].standing.used, held[0].standing.reserved), (5, 0));
}

proptest! {
    #[test]
    fn credit_takes_back_what_counts(
        algorithm in select(vec![Algorithm::Fixed, Algorithm::Calendar, Algorithm::Sliding, Algorithm::Bucket]),
        amounts in prop::collection::vec((0_u64..150, 0_u64..400), 0..6),
        amount in 0_u64..2_000,
    ) {
        let mut amounts = amounts;
        amounts.sort_unstable();
        let shared = Shared::default();
        let rate = Rate::new(1, Window { algorithm, length: MINUTE });
        let (store, inspecting) = used(&shared, rate, &amounts);
        let now = seconds(150);
        let mut inspected = [inspecting];
        store.read(&shared, now, &mut inspected).unwrap();
        let before = inspected[0].standing;
        let taken = store.credit(&shared, now, &mut inspected, amount).unwrap();
        let after = inspected[0].standing;
        prop_assert_eq!(taken, before.used - after.used);
        prop_assert!(taken <= amount);
        // Usage of the window before is taken back in whole units of that window.
        let rounding = u64::from(algorithm == Algorithm::Sliding);
        prop_assert!(taken + rounding >= amount.min(before.used), "{} of {:?}", taken, before);
        prop_assert!(after.resets_at <= before.resets_at || after.used == 0);
    }
}
