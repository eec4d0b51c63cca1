//! How long to wait after a failure: twice as long after each, with jitter.

use crate::time::Nanos;

/// The delay after the first failure.
const MIN_DELAY: Nanos = Nanos::from_millis(250);

/// The longest delay.
pub(super) const MAX_DELAY: Nanos = Nanos::from_secs(5);

/// Returns the delay after so many failures in a row. `random` is any number: it takes up to half of the
/// delay off, so that clients that failed together do not come back together.
pub(super) fn delay(failures: u32, random: u64) -> Nanos {
    let doublings = failures.saturating_sub(1).min(16);
    let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
    let delay = MIN_DELAY.saturating_mul(factor).min(MAX_DELAY);
    let half = delay.as_u64() / 2;
    delay.saturating_sub(Nanos::new(random.checked_rem(half).unwrap_or_default()))
}
