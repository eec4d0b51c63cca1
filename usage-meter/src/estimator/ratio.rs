//! Bytes per token.

/// A ratio is in thousandths of a byte per token.
const MILLI: u64 = 1000;

/// The ratios that a tokenizer can have; others are not learned from.
const PLAUSIBLE: std::ops::RangeInclusive<u64> = 500..=32_000;

/// The minimum number of tokens from which a ratio is learned.
const MIN_TOKENS: u64 = 16;

/// The number of observations from which on a new one has this part of the weight.
const MAX_WEIGHT: u64 = 8;

/// Bytes per token: the mean of the first observations, then a moving average.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ratio {
    value: u64,
    /// The number of observations, up to [`MAX_WEIGHT`].
    observations: u64,
}

// === impl Ratio ===

impl Ratio {
    /// Returns a ratio, in thousandths, that was not observed; the first observation replaces it.
    pub(super) const fn new(value: u64) -> Self {
        Self {
            value,
            observations: 0,
        }
    }

    /// Returns the tokens of a number of bytes. They are rounded up, so that no text is free.
    pub(super) fn tokens(self, bytes: u64) -> u64 {
        bytes.saturating_mul(MILLI).div_ceil(self.value.max(1))
    }

    /// Adds the ratio of bytes to tokens, if it is plausible.
    pub(super) fn observe(&mut self, bytes: u64, tokens: u64) {
        if tokens < MIN_TOKENS {
            return;
        }
        let observed = bytes.saturating_mul(MILLI).checked_div(tokens);
        let Some(observed) = observed.filter(|ratio| PLAUSIBLE.contains(ratio)) else {
            return;
        };
        self.observations = self.observations.saturating_add(1).min(MAX_WEIGHT);
        let share = |value: u64| value.checked_div(self.observations).unwrap_or_default();
        let rest = self.value.saturating_sub(share(self.value));
        self.value = rest.saturating_add(share(observed)).max(1);
    }
}
