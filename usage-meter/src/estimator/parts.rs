//! Tokens of images, audio and files.

/// The tokens of a part for an unknown model: about those of an image of a million pixels.
const START: u64 = 1_000;

/// The means that a model can have: some charge little for a small image, and many times as much for a
/// document.
const PLAUSIBLE: std::ops::RangeInclusive<u64> = 250..=16_000;

/// The number of observations from which on a new one has this part of the weight.
const MAX_WEIGHT: u64 = 8;

/// Tokens per part: a moving average.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartTokens {
    mean: u64,
    /// The number of observations, up to [`MAX_WEIGHT`].
    observations: u64,
}

// === impl PartTokens ===

impl PartTokens {
    /// The mean of a model without observations; the first observation replaces it.
    pub(super) const START: Self = Self {
        mean: START,
        observations: 0,
    };

    /// Returns the tokens of a number of parts.
    pub(super) fn tokens(self, parts: u64) -> u64 {
        self.mean.saturating_mul(parts)
    }

    /// Adds the tokens of the parts of a request.
    pub(super) fn observe(&mut self, tokens: u64, parts: u64) {
        let Some(observed) = tokens.checked_div(parts) else {
            return;
        };
        let observed = observed.clamp(*PLAUSIBLE.start(), *PLAUSIBLE.end());
        self.observations = self.observations.saturating_add(1).min(MAX_WEIGHT);
        let share = |value: u64| value.checked_div(self.observations).unwrap_or_default();
        let rest = self.mean.saturating_sub(share(self.mean));
        self.mean = rest.saturating_add(share(observed));
    }
}
