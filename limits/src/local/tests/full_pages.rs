//! Pages that are full of live counters.

use super::shared::Shared;
use super::{MINUTE, NOW, Worker, after, page_key, per_minute, seconds, shared_key};
use crate::page::CAPACITY;
use crate::rate::Rate;
use crate::reservation::Reservation;
use crate::time::Nanos;
use crate::window::{Algorithm, Window};

/// Returns a reservation of nothing, of a high limit.
fn of(key: u128) -> Reservation {
    Reservation::new(per_minute(1), key, 1_000_000, 0)
}

/// Returns a worker whose one page is full of counters that used `used` each.
fn full(shared: &Shared, used: u64) -> Worker<'_> {
    let worker = Worker::new(shared, 1);
    for key in 0..CAPACITY {
        worker.record(NOW, of(key as u128), used);
    }
    assert_eq!(worker.store.occupancy().evictions, 0);
    worker
}

#[test]
fn keys_of_pages_have_fixed_bytes() {
    assert_eq!(page_key(0), *b"tollgate\x01\0\0\0\0\0\0\0");
    assert_eq!(
        page_key(0x0102_0304),
        *b"tollgate\x01\0\0\0\x01\x02\x03\x04"
    );
    assert_eq!(
        shared_key(*b"deferred", 7, 1),
        *b"deferred\x07\0\0\0\0\0\0\x01"
    );
}

#[test]
fn pages_share_the_counters() {
    let shared = Shared::default();
    let worker = Worker::new(&shared, 64 * 6);
    for key in 0..64 * 6 {
        worker.record(NOW, of(key), 1);
    }
    assert_eq!(worker.store.occupancy().evictions, 0);
}

#[test]
fn full_page_keeps_large_counters() {
    let shared = Shared::default();
    let worker = full(&shared, 10);
    let large = of(100);
    worker.record(seconds(1), large, 5_000);
    for key in 1_000..1_200 {
        worker.record(seconds(2), of(key), 1);
    }
    let standing = worker.standing(seconds(3), large);
    assert_eq!(standing.used, 5_000, "exactly its own");
    let new = worker.standing(seconds(3), of(5_000));
    assert!((10..1_000).contains(&new.used), "{new:?}");
    assert!(worker.store.occupancy().evictions >= 200);
}

#[test]
fn full_page_keeps_large_reservations() {
    let shared = Shared::default();
    let mut worker = full(&shared, 10);
    let large = Reservation {
        amount: 5_000,
        ..of(100)
    };
    assert!(worker.admits(seconds(1), &[large]));
    for key in 1_000..1_200 {
        worker.record(seconds(2), of(key), 1);
    }
    let standing = worker.standing(seconds(3), large);
    assert_eq!(standing.reserved, 5_000);
    assert_eq!(worker.standing(seconds(3), of(5_000)).reserved, 0);
}

#[test]
fn corrected_counters_expire_in_time() {
    let shared = Shared::default();
    let worker = Worker::new(&shared, 1);
    let ahead = after(Nanos::DAY);
    for key in 0..CAPACITY {
        worker.record(ahead, of(key as u128), 10);
    }
    // The clock has stepped backwards: they count for a window from now.
    for key in 0..CAPACITY {
        assert_eq!(
            worker.standing(NOW, of(key as u128)).resets_at,
            after(MINUTE)
        );
    }
    for key in 0..CAPACITY {
        worker.record(after(MINUTE), of(1_000 + key as u128), 10);
    }
    assert_eq!(worker.store.occupancy().evictions, 0);
}

#[test]
fn evicted_counter_counts_for_its_whole_window() {
    let shared = Shared::default();
    let worker = full(&shared, 100);
    let evicted = of(100);
    worker.record(seconds(30), evicted, 50);
    // This evicts it, into a floor of counters whose window ends earlier.
    worker.record(seconds(30), of(101), 1);
    assert_eq!(worker.store.occupancy().evictions, 2);
    worker.record(seconds(70), of(102), 1);
    assert!(worker.standing(seconds(70), evicted).used >= 50);
    assert_eq!(worker.standing(seconds(90), evicted).used, 0);
}

#[test]
fn counter_made_from_floor_outlives_floors_window() {
    let long = Nanos::from_secs(7);
    for rate in [
        per_minute(1),
        Rate::new(
            1,
            Window {
                algorithm: Algorithm::Fixed,
                length: long,
            },
        ),
    ] {
        let length = rate.window().length;
        let shared = Shared::default();
        let worker = Worker::new(&shared, 1);
        let of = |key| Reservation::new(rate, key, 1_000_000, 0);
        // One more than fits, so that there is a floor, whose window ends with theirs.
        for key in 0..=CAPACITY {
            worker.record(NOW, of(key as u128), 10);
        }
        assert_eq!(worker.store.occupancy().evictions, 1);
        let last = after(length).saturating_sub(Nanos::new(1));
        let new = of(100);
        worker.record(last, new, 20);
        assert!(worker.standing(last, new).used >= 20);
        // Its own window ends a whole window after its first use.
        let end = last.saturating_add(length);
        for at in [
            after(length),
            after(length).saturating_add(Nanos::SECOND),
            end.saturating_sub(Nanos::new(1)),
        ] {
            let used = worker.standing(at, new).used;
            assert!(used >= 20, "{used} at {at:?} with {length:?}");
        }
        assert_eq!(worker.standing(end, new).used, 0);
    }
    assert!(long < MINUTE);
}
