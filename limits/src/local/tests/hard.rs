//! Hard limits.

use super::{NOW, Shared, Worker, per_minute, seconds};
use crate::Reservation;

#[test]
fn lone_request_of_hard_limit_fits_or_waits() {
    let shared = Shared::default();
    let mut worker = Worker::new(&shared, 100);
    let hard = |amount| {
        [Reservation {
            is_hard: true,
            ..Reservation::new(per_minute(1), 7, 50, amount)
        }]
    };
    assert!(!worker.admits(NOW, &hard(51)));
    assert!(worker.admits(NOW, &hard(50)));
    worker.settle(seconds(1), &[41]);
    assert!(!worker.admits(seconds(2), &hard(10)));
    assert!(worker.admits(seconds(2), &hard(9)));
    worker.settle(seconds(3), &[9]);
    assert!(!worker.admits(seconds(4), &hard(0)));
}
