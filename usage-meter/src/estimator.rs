//! Estimates of tokens from bytes, for requests in flight and for responses without a usage report.

use std::cell::RefCell;

use crate::usage::Usage;

#[cfg(test)]
mod tests;

/// The maximum number of models with ratios of their own.
const MAX_MODELS: usize = 64;

/// A ratio is in thousandths of a byte per token.
const MILLI: u64 = 1000;

/// The ratios that a tokenizer can have; others are not learnt from.
const PLAUSIBLE_RATIOS: std::ops::RangeInclusive<u64> = 500..=32_000;

/// The minimum number of tokens from which a ratio is learnt.
const MIN_LEARNT_TOKENS: u64 = 16;

/// The maximum number of output tokens of one response that is learnt from.
const MAX_OUTPUT_TOKENS: u64 = 1_000_000;

/// The number of observations from which on a new one has this part of the weight.
const MAX_WEIGHT: u64 = 8;

/// The ratios of a model of which nothing has been observed: English prose with the tokenizers of the
/// large providers, in JSON in requests, and responses of half a page.
const INITIAL: Model = Model {
    input_ratio: MovingMean::new(4_500),
    output_ratio: MovingMean::new(4_300),
    output_tokens: MovingMean::new(400),
};

/// Estimates tokens from bytes, by ratios that it learns from responses with a usage report, separately
/// for each model.
///
/// It keeps ratios of at most 64 models; others have the initial ones.
#[derive(Debug, Default)]
pub struct Estimator {
    models: RefCell<Vec<(String, Model)>>,
}

/// An exchange whose response reported its usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The number of bytes that the model read, as in
    /// [`Parameters::input_bytes`](crate::request::Parameters::input_bytes).
    pub input_bytes: u64,
    /// The number of bytes of generated text, as in [`Meter::output_bytes`](crate::Meter::output_bytes).
    pub output_bytes: u64,
    /// The reported usage.
    pub usage: Usage,
}

/// What has been learnt about a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Model {
    /// Bytes read per input token, in thousandths.
    input_ratio: MovingMean,
    /// Bytes of generated text per output token, in thousandths. Reasoning that is not shown counts as
    /// tokens.
    output_ratio: MovingMean,
    /// The output tokens of a response.
    output_tokens: MovingMean,
}

/// The mean of the first observations, then a moving average.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MovingMean {
    value: u64,
    /// The number of observations, up to [`MAX_WEIGHT`].
    observations: u64,
}

// === impl Estimator ===

impl Estimator {
    /// Estimates the input tokens of a request of which the model reads `input_bytes`.
    #[must_use]
    pub fn input_tokens(&self, model: Option<&str>, input_bytes: u64) -> u64 {
        self.model(model).input_ratio.tokens(input_bytes)
    }

    /// Estimates the output tokens of `output_bytes` of generated text.
    #[must_use]
    pub fn output_tokens(&self, model: Option<&str>, output_bytes: u64) -> u64 {
        self.model(model).output_ratio.tokens(output_bytes)
    }

    /// Returns the mean number of output tokens of a response.
    #[must_use]
    pub fn mean_output_tokens(&self, model: Option<&str>) -> u64 {
        self.model(model).output_tokens.value
    }

    /// Learns from an exchange.
    pub fn learn(&self, model: Option<&str>, observation: &Observation) {
        let Some(name) = model else { return };
        let mut models = self.models.borrow_mut();
        let known = models.iter().position(|(known, _)| known == name);
        let index = known.unwrap_or(models.len());
        if index == models.len() && index < MAX_MODELS {
            models.push((name.to_owned(), INITIAL));
        }
        if let Some((_, model)) = models.get_mut(index) {
            model.learn(observation);
        }
    }

    fn model(&self, name: Option<&str>) -> Model {
        let models = self.models.borrow();
        let known = name.and_then(|name| models.iter().find(|(known, _)| known == name));
        known.map_or(INITIAL, |(_, model)| *model)
    }
}

// === impl Model ===

impl Model {
    fn learn(&mut self, observation: &Observation) {
        let Observation {
            input_bytes,
            output_bytes,
            usage,
        } = observation;
        self.input_ratio
            .observe_ratio(*input_bytes, usage.input_tokens);
        self.output_ratio
            .observe_ratio(*output_bytes, usage.output_tokens);
        if usage.output_tokens > 0 {
            self.output_tokens
                .observe(usage.output_tokens.min(MAX_OUTPUT_TOKENS));
        }
    }
}

// === impl MovingMean ===

impl MovingMean {
    const fn new(value: u64) -> Self {
        Self {
            value,
            observations: 0,
        }
    }

    /// Returns the tokens of a number of bytes at this ratio. They are rounded up, so that no text is
    /// free.
    fn tokens(self, bytes: u64) -> u64 {
        bytes.saturating_mul(MILLI).div_ceil(self.value.max(1))
    }

    /// Adds the ratio of bytes to tokens, if it is plausible.
    fn observe_ratio(&mut self, bytes: u64, tokens: u64) {
        if tokens < MIN_LEARNT_TOKENS {
            return;
        }
        let Some(ratio) = bytes.saturating_mul(MILLI).checked_div(tokens) else {
            return;
        };
        if PLAUSIBLE_RATIOS.contains(&ratio) {
            self.observe(ratio);
        }
    }

    fn observe(&mut self, observed: u64) {
        self.observations = self.observations.saturating_add(1).min(MAX_WEIGHT);
        let share = |value: u64| value.checked_div(self.observations).unwrap_or_default();
        let rest = self.value.saturating_sub(share(self.value));
        self.value = rest.saturating_add(share(observed)).max(1);
    }
}
