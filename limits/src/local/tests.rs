//! What callers meet: admission, reservations, windows, pages, and other workers.

mod administer;
mod corrections;
mod full_pages;
mod hard;
mod loaded_pages;
mod model;
mod shared;
mod workers;

use super::*;
use crate::rate::Rate;
use crate::window::{Algorithm, Window};
use shared::Shared;

const SECOND: Nanos = Nanos::SECOND;
const MINUTE: Nanos = Nanos::MINUTE;
const TTL: Nanos = Nanos::from_secs(600);
/// A Thursday afternoon in 2026.
const NOW: Timestamp = Timestamp::new(1_780_000_000 * SECOND.as_u64());

/// Returns the instant that lies a length of time after [`NOW`].
fn after(length: Nanos) -> Timestamp {
    NOW.saturating_add(length)
}

fn seconds(seconds: u64) -> Timestamp {
    after(Nanos::from_secs(seconds))
}

/// Returns the instant that lies one nanosecond earlier.
fn before(at: Timestamp) -> Timestamp {
    at.saturating_sub(Nanos::new(1))
}

/// Returns a rate with a fixed window of a minute.
fn per_minute(identity: u128) -> Rate {
    let algorithm = Algorithm::Fixed;
    let length = MINUTE;
    Rate::new(identity, Window { algorithm, length })
}

/// A worker, and the reservations that it made last.
struct Worker<'a> {
    store: LocalStore,
    shared: &'a dyn SharedData,
    made: Vec<Reservation>,
}

impl<'a> Worker<'a> {
    fn new(shared: &'a dyn SharedData, max_counters: u32) -> Self {
        Self {
            store: LocalStore::new(max_counters),
            shared,
            made: Vec::new(),
        }
    }

    fn try_reserve(
        &mut self,
        now: Timestamp,
        reservations: &[Reservation],
    ) -> Result<Verdict, StoreError> {
        self.made = reservations.to_vec();
        self.store.reserve(self.shared, now, &mut self.made, TTL)
    }

    fn admits(&mut self, now: Timestamp, reservations: &[Reservation]) -> bool {
        self.try_reserve(now, reservations).unwrap() == Verdict::Admitted
    }

    /// Settles the request that was admitted last.
    fn settle(&mut self, now: Timestamp, costs: &[u64]) {
        let mut made = self.made.clone();
        self.settle_made(now, &mut made, costs);
        self.made = made;
    }

    fn settle_made(&self, now: Timestamp, made: &mut [Reservation], costs: &[u64]) {
        for (reservation, cost) in made.iter_mut().zip(costs) {
            reservation.cost = *cost;
        }
        self.store.settle(self.shared, now, made).unwrap();
    }

    /// Adds usage without a reservation.
    fn record(&self, now: Timestamp, reservation: Reservation, cost: u64) {
        self.settle_made(now, &mut [reservation], &[cost]);
    }

    fn standing(&self, now: Timestamp, reservation: Reservation) -> Standing {
        let mut read = [Reservation {
            amount: 0,
            cost: 0,
            ..reservation
        }];
        self.store.settle(self.shared, now, &mut read).unwrap();
        read[0].standing
    }
}

#[test]
fn lone_request_is_admitted_while_anything_is_left() {
    let shared = Shared::default();
    let mut worker = Worker::new(&shared, 100);
    let request = [Reservation::new(per_minute(1), 7, 50, 4096)];
    assert!(worker.admits(NOW, &request));
    worker.settle(seconds(1), &[49]);
    assert_eq!(worker.made[0].standing.remaining(), 1);
    assert!(worker.admits(seconds(2), &request));
    worker.settle(seconds(3), &[60]);
    let rejected = worker.try_reserve(seconds(4), &request).unwrap();
    let standing = Standing {
        limit: 50,
        used: 109,
        reserved: 0,
        resets_at: after(MINUTE),
    };
    assert_eq!(rejected, Verdict::Rejected { index: 0, standing });
    assert!(!worker.admits(before(after(MINUTE)), &request));
    assert!(worker.admits(after(MINUTE), &request));
}

#[test]
fn rejection_says_when_the_next_request_fits() {
    let shared = Shared::default();
    let mut worker = Worker::new(&shared, 100);
    let window = Window {
        algorithm: Algorithm::Bucket,
        length: MINUTE,
    };
    let request = Reservation::new(Rate::new(1, window), 7, 60, 10);
    worker.record(NOW, request, 90);
    let standing = |resets_at| Standing {
        limit: 60,
        used: 90,
        reserved: 0,
        resets_at,
    };
    assert_eq!(worker.standing(NOW, request), standing(seconds(90)));
    let rejected = worker.try_reserve(NOW, &[request]).unwrap();
    let standing = standing(seconds(31));
    assert_eq!(rejected, Verdict::Rejected { index: 0, standing });
    assert!(!worker.admits(before(seconds(31)), &[request]));
    assert!(worker.admits(seconds(31), &[request]));
}

#[test]
fn standing_says_what_is_in_the_way() {
    // Used and reserved of a limit of ten; what remains, and whether only requests in flight are in the way.
    for (used, reserved, remaining, is_only_reserved) in [
        (0, 0, 10, false),
        (4, 5, 1, true),
        (9, 5, 0, true),
        (10, 5, 0, false),
        (12, 0, 0, false),
    ] {
        let standing = Standing {
            limit: 10,
            used,
            reserved,
            resets_at: NOW,
        };
        assert_eq!(standing.remaining(), remaining, "{standing:?}");
        assert_eq!(
            standing.is_only_reserved(),
            is_only_reserved,
            "{standing:?}"
        );
    }
}

#[test]
fn concurrent_requests_are_admitted_as_reservations_fit() {
    let shared = Shared::default();
    let mut worker = Worker::new(&shared, 100);
    let request = [Reservation::new(per_minute(1), 7, 1000, 100)];
    assert!(worker.admits(NOW, &request));
    let mut first = worker.made.clone();
    let admitted = (1..64).filter(|_| worker.admits(NOW, &request)).count();
    assert_eq!(admitted, 9);
    assert_eq!(worker.made[0].standing.reserved, 1000);
    worker.settle_made(seconds(1), &mut first, &[30]);
    assert_eq!(worker.standing(seconds(1), request[0]).reserved, 900);
}

#[test]
fn admission_without_reservation_writes_nothing() {
    let shared = Shared::default();
    let mut worker = Worker::new(&shared, 100);
    let request = [Reservation::new(per_minute(1), 7, 50, 0)];
    assert!(worker.admits(NOW, &request));
    assert_eq!(shared.writes.count(), 0);
    worker.settle(NOW, &[50]);
    assert!(!worker.admits(NOW, &request));
    assert_eq!(shared.writes.count(), 1);
}

#[test]
fn rates_of_one_key_share_one_page() {
    let shared = Shared::default();
    let mut worker = Worker::new(&shared, 65536);
    let request: Vec<_> = (0..6)
        .map(|rate| Reservation::new(per_minute(rate), 7, 50, 10))
        .collect();
    assert!(worker.admits(NOW, &request));
    worker.settle(NOW, &[1, 2, 3, 4, 5, 6]);
    let used: Vec<u64> = worker.made.iter().map(|made| made.standing.used).collect();
    assert_eq!(used, [1, 2, 3, 4, 5, 6]);
    assert_eq!(shared.reads.count(), 2);
    assert_eq!(shared.writes.count(), 2);
}

#[test]
fn rejection_reserves_nothing_and_names_longest_wait() {
    let shared = Shared::default();
    let minute = per_minute(1);
    let length = Nanos::HOUR;
    let algorithm = Algorithm::Fixed;
    let hour = Rate::new(2, Window { algorithm, length });
    let mut worker = Worker::new(&shared, 65536);
    let request = [
        Reservation::new(minute, 1, 50, 10),
        Reservation::new(minute, 2, 50, 10),
        Reservation::new(hour, 3, 50, 10),
        Reservation::new(minute, 4, 50, 10),
    ];
    worker.record(NOW, request[1], 50);
    worker.record(NOW, request[2], 50);
    let now = after(Nanos::new(1));
    let Verdict::Rejected { index, standing } = worker.try_reserve(now, &request).unwrap() else {
        panic!("admitted");
    };
    assert_eq!((index, standing.resets_at), (2, after(length)));
    for reservation in request {
        assert_eq!(worker.standing(now, reservation).reserved, 0);
    }
    // Of those with the same wait, the first is named.
    worker.record(NOW, request[3], 50);
    let shorter = [request[0], request[1], request[3]];
    let verdict = worker.try_reserve(now, &shorter).unwrap();
    assert!(matches!(verdict, Verdict::Rejected { index: 1, .. }));
}

#[test]
fn two_reservations_of_one_counter_add_up() {
    let shared = Shared::default();
    let mut worker = Worker::new(&shared, 100);
    let request = [Reservation::new(per_minute(1), 7, 100, 30); 2];
    assert!(worker.admits(NOW, &request));
    let mut made = worker.made.clone();
    assert_eq!(worker.standing(NOW, request[0]).reserved, 60);
    assert!(!worker.admits(NOW, &request));
    worker.settle_made(NOW, &mut made, &[5, 6]);
    let standing = worker.standing(NOW, request[0]);
    assert_eq!((standing.used, standing.reserved), (11, 0));
}

#[test]
fn limit_of_zero_always_rejects() {
    let shared = Shared::default();
    let mut worker = Worker::new(&shared, 100);
    let request = [Reservation::new(per_minute(1), 7, 0, 10)];
    let rejected = worker.try_reserve(NOW, &request).unwrap();
    let standing = Standing {
        resets_at: after(MINUTE),
        ..Standing::default()
    };
    assert_eq!(rejected, Verdict::Rejected { index: 0, standing });
}

#[test]
fn lost_reservation_expires_and_releases_no_other() {
    let shared = Shared::default();
    let mut worker = Worker::new(&shared, 100);
    let request = [Reservation::new(per_minute(1), 7, 100, 60)];
    assert!(worker.admits(NOW, &request));
    let mut lost = worker.made.clone();
    assert!(!worker.admits(before(after(TTL)), &request));
    let later = after(TTL.saturating_mul(2));
    assert!(worker.admits(later, &request));
    worker.settle_made(later, &mut lost, &[0]);
    assert_eq!(worker.standing(later, request[0]).reserved, 60);
}

#[test]
fn reservation_outlives_window_and_costs_the_next() {
    let shared = Shared::default();
    let mut worker = Worker::new(&shared, 100);
    let request = [Reservation::new(per_minute(1), 7, 100, 60)];
    assert!(worker.admits(NOW, &request));
    let later = seconds(120);
    assert_eq!(worker.standing(later, request[0]).reserved, 60);
    worker.settle(later, &[40]);
    let end = later.saturating_add(MINUTE);
    let standing = worker.standing(before(end), request[0]);
    assert_eq!((standing.used, standing.reserved), (40, 0));
    assert_eq!(worker.standing(end, request[0]).used, 0);
}

#[test]
fn clock_step_back_changes_no_decision() {
    let shared = Shared::default();
    let mut worker = Worker::new(&shared, 100);
    let request = [Reservation::new(per_minute(1), 7, 50, 0)];
    worker.record(NOW, request[0], 50);
    let back = NOW.saturating_sub(MINUTE.saturating_mul(1_000));
    let end = back.saturating_add(MINUTE);
    assert!(!worker.admits(back, &request));
    assert!(!worker.admits(before(end), &request));
    assert!(worker.admits(end, &request));
}

#[test]
fn counters_outlive_a_changed_limit_only() {
    let shared = Shared::default();
    let worker = Worker::new(&shared, 100);
    worker.record(NOW, Reservation::new(per_minute(1), 7, 50, 0), 70);
    let reloaded = Worker::new(&shared, 100);
    let same = Reservation::new(per_minute(1), 7, 200, 0);
    assert_eq!(reloaded.standing(NOW, same).used, 70);
    let other = Reservation::new(per_minute(2), 7, 200, 0);
    assert_eq!(reloaded.standing(NOW, other).used, 0);
}

#[test]
fn unreadable_page_is_empty_and_counted() {
    let reservation = Reservation::new(per_minute(1), 7, 50, 0);
    for bytes in [&b"x"[..], b"tg\x02\x0b", b"tg\x01\x0brest", &[0xff; 84]] {
        let shared = Shared::default();
        let worker = Worker::new(&shared, 1);
        worker.record(NOW, reservation, 1);
        for (value, _) in shared.values.borrow_mut().values_mut() {
            *value = bytes.to_vec();
        }
        worker.record(NOW, reservation, 3);
        assert_eq!(worker.standing(NOW, reservation).used, 3);
        assert_eq!(worker.store.occupancy().unreadable, 1);
    }
}

#[test]
fn failures_name_the_counters_they_concern() {
    let shared = Shared::default();
    let mut worker = Worker::new(&shared, 65536);
    let request = [1, 2, 1].map(|key| Reservation::new(per_minute(1), key, 50, 5));
    let error = SharedDataError::Failed("internal failure".to_owned());
    shared.reads.fail(1, &error);
    let failure = StoreError::SharedData(error.clone());
    assert_eq!(worker.try_reserve(NOW, &request), Err(failure.clone()));
    assert!(worker.admits(NOW, &request));
    shared.writes.fail(1, &error);
    let mut made = worker.made.clone();
    for reservation in &mut made {
        reservation.cost = 9;
    }
    let settled = worker.store.settle(&shared, NOW, &mut made);
    let unsettled = StoreError::Unsettled {
        indices: vec![0, 2],
        cause: Box::new(failure),
    };
    assert_eq!(settled, Err(unsettled));
    let standings: Vec<u64> = made.iter().map(|made| made.standing.used).collect();
    assert_eq!(standings, [0, 9, 0]);
}

#[test]
fn contended_write_fails_and_reserves_nothing() {
    let shared = Shared::default();
    let mut worker = Worker::new(&shared, 65536);
    let request = [1, 2].map(|key| Reservation::new(per_minute(1), key, 50, 5));
    shared.writes.fail(64, &SharedDataError::CasMismatch);
    assert_eq!(
        worker.try_reserve(NOW, &request),
        Err(StoreError::Contended)
    );
    assert_eq!(worker.store.occupancy().retries, 64);
    assert_eq!(worker.standing(NOW, request[0]).reserved, 0);
}

#[test]
fn raised_limit_records_without_rejecting() {
    let shared = Shared::default();
    let mut worker = Worker::new(&shared, 100);
    let mut request = Reservation::new(per_minute(1), 7, 50, 10);
    worker.record(NOW, request, 60);
    assert!(!worker.admits(NOW, &[request]));
    request.limit = u64::MAX;
    assert!(worker.admits(NOW, &[request]));
    worker.made[0].limit = 50;
    worker.settle(NOW, &[5]);
    let standing = worker.made[0].standing;
    assert_eq!(
        (standing.used, standing.reserved, standing.limit),
        (65, 0, 50)
    );
}

#[test]
fn exhausted_callers_stay_rejected_in_key_flood() {
    let (shared, rate) = (Shared::default(), per_minute(1));
    let mut worker = Worker::new(&shared, 1024);
    let exhausted: Vec<_> = (0..8)
        .map(|caller| Reservation::new(rate, u128::MAX / 3 + caller, 1000, 0))
        .collect();
    for reservation in &exhausted {
        worker.record(NOW, *reservation, 1000);
    }
    let (soon, later) = (after(Nanos::new(1)), after(Nanos::new(2)));
    for key in 0..1_000_000 {
        if worker.admits(soon, &[Reservation::new(rate, key, 1000, 0)]) {
            worker.settle(soon, &[30]);
        }
        if key % 1000 == 0 {
            for reservation in &exhausted {
                assert!(!worker.admits(later, &[*reservation]));
            }
        }
    }
    let pages = 1024_u64.div_ceil(6);
    assert_eq!(worker.store.occupancy().page_overflows, pages);
    let values = shared.values.borrow();
    let bytes: usize = values.values().map(|(page, _)| page.len()).sum();
    assert!(bytes as u64 <= pages * (17 * 88 + 4));
    drop(values);
    let end = soon.saturating_add(MINUTE);
    assert!(
        exhausted
            .iter()
            .all(|reservation| worker.admits(end, &[*reservation]))
    );
}
