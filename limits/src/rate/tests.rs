//! Rates whose windows have another length.

use super::Rate;
use crate::time::Nanos;
use crate::window::{Algorithm, Window};

#[test]
fn rate_of_another_length_has_the_same_counters() {
    let window = |length| Window {
        algorithm: Algorithm::Sliding,
        length,
    };
    let minute = Rate::new(7, window(Nanos::MINUTE));
    let hour = minute.with_length(Nanos::HOUR);
    assert_eq!(hour.window(), window(Nanos::HOUR));
    assert_eq!(hour.tag(), minute.tag());
}
