//! Reproducible random numbers for tests.

use fastrand::Rng;

/// Returns the seed in the environment variable `TOLLGATE_SEED`, or a new one. Callers should print it.
#[must_use]
pub fn seed() -> u64 {
    let given = std::env::var("TOLLGATE_SEED").ok();
    given
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..))
}

/// Draws a length from 1 to 16,384 in which all magnitudes are equally likely.
pub fn length(rng: &mut Rng) -> usize {
    let magnitude = rng.u32(..15);
    1 + rng.usize(..1 << magnitude)
}
