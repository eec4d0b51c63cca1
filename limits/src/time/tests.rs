//! Conversions of lengths of time.

use super::*;

#[test]
fn lengths_are_converted_to_whole_units() {
    for (nanoseconds, milliseconds, seconds) in [
        (0, 0, 0),
        (999_999, 0, 0),
        (1_000_000, 1, 0),
        (1_999_999_999, 1_999, 1),
        (2_000_000_000, 2_000, 2),
        (u64::MAX, 18_446_744_073_709, 18_446_744_073),
    ] {
        let length = Nanos::new(nanoseconds);
        assert_eq!(length.as_millis(), milliseconds, "{length:?}");
        assert_eq!(length.as_secs(), seconds, "{length:?}");
        assert_eq!(length.is_zero(), nanoseconds == 0);
        let duration = Duration::from_nanos(nanoseconds);
        assert_eq!(Duration::from(length), duration);
        assert_eq!(Nanos::from(duration), length);
    }
    assert_eq!(Nanos::from(Duration::MAX), Nanos::MAX);
}

#[test]
fn sums_and_differences_saturate() {
    let length = Nanos::from_secs(2);
    assert_eq!(length.saturating_add(Nanos::SECOND), Nanos::from_secs(3));
    assert_eq!(length.saturating_add(Nanos::MAX), Nanos::MAX);
    assert_eq!(length.saturating_sub(Nanos::SECOND), Nanos::SECOND);
    assert_eq!(length.saturating_sub(Nanos::MINUTE), Nanos::ZERO);
    let instant = Timestamp::new(5);
    assert_eq!(instant.saturating_sub(Nanos::SECOND), Timestamp::EPOCH);
    assert_eq!(instant.saturating_add(Nanos::MAX), Timestamp::MAX);
    assert_eq!(instant.since(Timestamp::new(2)), Nanos::new(3));
    assert_eq!(instant.since(Timestamp::new(9)), Nanos::ZERO);
}
