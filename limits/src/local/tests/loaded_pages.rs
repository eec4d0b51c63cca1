//! Pages that a pre-check has read, and that the check after it uses.

use super::shared::Shared;
use super::{NOW, Worker, per_minute};
use crate::reservation::Reservation;

/// Returns a reservation of a limit of 100.
fn of(key: u128, amount: u64) -> Reservation {
    Reservation::new(per_minute(1), key, 100, amount)
}

#[test]
fn check_reads_no_page_of_its_precheck() {
    let shared = Shared::default();
    let mut worker = Worker::new(&shared, 65536);
    assert!(worker.admits(NOW, &[of(7, 0)]));
    assert!(worker.admits(NOW, &[of(7, 10)]));
    assert_eq!((shared.reads.count(), shared.writes.count()), (1, 1));
    // What it wrote is no longer what it read.
    assert!(worker.admits(NOW, &[of(7, 10)]));
    assert_eq!((shared.reads.count(), shared.writes.count()), (2, 2));
    assert_eq!(worker.store.occupancy().retries, 0);
}

#[test]
fn check_reads_pages_of_other_callers() {
    let shared = Shared::default();
    let mut worker = Worker::new(&shared, 65536);
    worker.record(NOW, of(8, 0), 100);
    assert!(worker.admits(NOW, &[of(7, 0)]));
    assert!(!worker.admits(NOW, &[of(8, 10)]));
    assert!(!worker.admits(NOW, &[of(7, 10), of(8, 10)]));
    assert!(worker.admits(NOW, &[of(7, 10)]));
}

#[test]
fn precheck_sees_usage_since_the_last() {
    let shared = Shared::default();
    let mut worker = Worker::new(&shared, 65536);
    let other = Worker::new(&shared, 65536);
    assert!(worker.admits(NOW, &[of(7, 0)]));
    other.record(NOW, of(7, 0), 100);
    assert!(!worker.admits(NOW, &[of(7, 0)]));
}

#[test]
fn check_sees_usage_since_its_precheck() {
    let shared = Shared::default();
    let mut worker = Worker::new(&shared, 65536);
    let other = Worker::new(&shared, 65536);
    assert!(worker.admits(NOW, &[of(7, 0)]));
    other.record(NOW, of(7, 0), 100);
    assert!(!worker.admits(NOW, &[of(7, 10)]));
    assert_eq!(worker.standing(NOW, of(7, 0)).reserved, 0);
}

#[test]
fn check_sees_room_since_its_precheck() {
    let shared = Shared::default();
    let mut worker = Worker::new(&shared, 65536);
    let mut other = Worker::new(&shared, 65536);
    assert!(other.admits(NOW, &[of(7, 100)]));
    assert!(!worker.admits(NOW, &[of(7, 0)]), "fully reserved");
    other.settle(NOW, &[1]);
    assert!(worker.admits(NOW, &[of(7, 10)]));
}
