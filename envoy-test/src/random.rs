//! Random numbers that can be had again: the same seed gives the same sequence.

use std::time::{SystemTime, UNIX_EPOCH};

/// A generator of random numbers (xorshift), of no use to cryptography.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds begin far apart, and none begins with the zero that would stay.
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`, or 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % bound.max(1)
    }

    /// A length from 1 to 16,384, where short ones are as likely as long ones.
    pub fn length(&mut self) -> usize {
        let magnitude = self.below(15);
        let length = 1 + self.below(1 << magnitude);
        usize::try_from(length).unwrap_or(1)
    }
}

/// The seed that `TOLLGATE_SEED` gives, else a new one. Whoever uses it should print it.
#[must_use]
pub fn seed() -> u64 {
    let given = std::env::var("TOLLGATE_SEED").ok();
    given.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(1, |now| u64::from(now.subsec_nanos()))
    })
}
