//! How long to wait after a failure: twice as long after each, and never quite as long as others.

/// The wait after the first failure, in nanoseconds.
const SHORTEST: u64 = 250_000_000;

/// The longest wait, in nanoseconds.
pub const LONGEST: u64 = 5_000_000_000;

/// Nanoseconds to wait after so many failures in a row. `random` is any number: it takes up to half
/// of the wait off, so that many who failed together do not come back together.
#[must_use]
pub fn wait(failures: u32, random: u64) -> u64 {
    let doublings = failures.saturating_sub(1).min(16);
    let wait = SHORTEST
        .checked_shl(doublings)
        .unwrap_or(LONGEST)
        .min(LONGEST);
    let half = wait / 2;
    wait.saturating_sub(random.checked_rem(half).unwrap_or_default())
}
