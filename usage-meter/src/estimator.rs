//! Estimates of tokens, for requests in flight and for responses without a usage report.

mod histogram;
mod parts;
mod ratio;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::time::Duration;

use self::histogram::{Histogram, MAX_VALUE};
use self::parts::PartTokens;
use self::ratio::Ratio;
use crate::usage::Usage;

/// The maximum number of models with learned values.
const MAX_MODELS: usize = 64;

/// The maximum length in bytes of the name of a model with learned values.
const MAX_NAME_BYTES: usize = 256;

/// The output tokens of a response of an unknown model: half a page. The expected output is never lower.
const START_OUTPUT_TOKENS: u64 = 400;

/// The output tokens of one response, with all its choices, that are plausible of any model: more than nearly
/// all responses have.
const START_PLAUSIBLE_TOKENS: u64 = 32_768;

/// How many times as many tokens as in the longest response so far are plausible.
const PLAUSIBLE_FACTOR: u64 = 2;

/// The output tokens of one response that no model exceeds.
const MAX_PLAUSIBLE_TOKENS: u64 = 1_000_000;

/// The part of the responses, in hundredths, that stay below what is expected of one without a bound.
const OUTPUT_QUANTILE: u32 = 90;

/// The number of responses for which the start value counts, so that a single long response does not
/// determine what is expected of all others.
const START_WEIGHT: u32 = 9;

/// The number of responses beyond which the weight of earlier ones is halved.
const MAX_RESPONSES: u32 = 512;

/// How long it takes until expected output falls to half, however many short responses there are.
const HALF_LIFE: Duration = Duration::from_secs(3600);

/// The output tokens per second of an unknown model.
const START_RATE: u64 = 100;

/// The rates, in tokens a second, that a model can have; others are not learned from, such as those of
/// responses from a cache.
const PLAUSIBLE_RATES: std::ops::RangeInclusive<u64> = 1..=10_000;

/// The part of the tokens, in hundredths, that are generated at less than the rate.
const RATE_QUANTILE: u32 = 25;

/// The minimum number of output tokens of a response of which the rate is learned.
const MIN_RATE_TOKENS: u64 = 16;

/// The maximum weight of a response in the rate: its output tokens.
const MAX_RATE_WEIGHT: u64 = 4096;

/// The number of tokens beyond which the weight of earlier ones in the rate is halved.
const MAX_RATE_TOKENS: u32 = 64 * 4096;

/// Estimates tokens from bytes and from time, by what it learns from responses with a usage report,
/// separately for each model.
///
/// It knows at most 64 models, those that it has learned of last; others have the start values.
///
/// What a caller can make it learn does not lower what is reserved for another: the expected output
/// is never below its start value, is learned only from requests without a bound of their own, and
/// at most halves within an hour. The rate has each response with its tokens as the weight, so that
/// many short or slow ones do not lower it.
#[derive(Debug, Default)]
pub struct Estimator {
    /// The models, in the order in which it has last learned of them.
    models: RefCell<Vec<(String, Model)>>,
}

/// An exchange whose response reported its usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The number of bytes that the model read, as in
    /// [`Parameters::input_bytes`](crate::request::Parameters::input_bytes).
    pub input_bytes: u64,
    /// The number of parts that are not text, as in
    /// [`Parameters::parts`](crate::request::Parameters::parts).
    pub input_parts: u64,
    /// The number of bytes of generated text, as in [`Meter::output_bytes`](crate::Meter::output_bytes).
    pub output_bytes: u64,
    /// The reported usage.
    pub usage: Usage,
    /// Whether the request has a bound on its output tokens.
    pub is_bounded: bool,
    /// The time from passing on the request to the end of the response, if it is known.
    pub duration: Option<Duration>,
    /// When the response ended, since any fixed instant.
    pub ended_at: Duration,
}

/// What has been learned about a model.
#[derive(Clone, Debug)]
struct Model {
    /// Bytes read per input token.
    input_ratio: Ratio,
    part_tokens: PartTokens,
    /// Bytes of generated text per output token. Reasoning that is not shown counts as tokens.
    output_ratio: Ratio,
    output: ExpectedOutput,
    /// The output tokens of the longest response.
    longest_output: u64,
    rate: Rate,
}

/// The output tokens that are expected of a response without a bound.
#[derive(Clone, Debug)]
struct ExpectedOutput {
    responses: Histogram,
    tokens: u64,
    /// When `tokens` was last confirmed or lowered.
    set_at: Duration,
}

/// The output tokens that a model generates a second.
#[derive(Clone, Debug)]
struct Rate {
    responses: Histogram,
}

// === impl Estimator ===

impl Estimator {
    /// Estimates the input tokens of a request of which the model reads `input_bytes`.
    #[must_use]
    pub fn input_tokens(&self, model: Option<&str>, input_bytes: u64) -> u64 {
        self.of(model, |model| model.input_ratio.tokens(input_bytes))
    }

    /// Estimates the input tokens of images, audio and files.
    #[must_use]
    pub fn part_tokens(&self, model: Option<&str>, parts: u64) -> u64 {
        match parts {
            0 => 0,
            parts => self.of(model, |model| model.part_tokens.tokens(parts)),
        }
    }

    /// Estimates the output tokens of `output_bytes` of generated text.
    #[must_use]
    pub fn output_tokens(&self, model: Option<&str>, output_bytes: u64) -> u64 {
        self.of(model, |model| model.output_ratio.tokens(output_bytes))
    }

    /// Returns the output tokens to expect of a response whose request has no bound: nine in ten
    /// have fewer.
    #[must_use]
    pub fn expected_output_tokens(&self, model: Option<&str>) -> u64 {
        self.of(model, |model| model.output.tokens)
    }

    /// Returns the output tokens beyond which a bound that a request sets is not plausible: twice those of the
    /// model's longest response, and at least a start value. A client can raise it only by a response that long.
    #[must_use]
    pub fn plausible_output_tokens(&self, model: Option<&str>) -> u64 {
        let longest = self.of(model, |model| model.longest_output);
        longest
            .saturating_mul(PLAUSIBLE_FACTOR)
            .clamp(START_PLAUSIBLE_TOKENS, MAX_PLAUSIBLE_TOKENS)
    }

    /// Estimates the output tokens that a model generates in a time, whether they are visible or not.
    #[must_use]
    pub fn generated_tokens(&self, model: Option<&str>, elapsed: Duration) -> u64 {
        let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let rate = self.of(model, |model| model.rate.tokens_per_second());
        milliseconds.saturating_mul(rate) / 1000
    }

    /// Learns from an exchange.
    #[cold]
    pub fn learn(&self, model: Option<&str>, observation: &Observation) {
        let Some(name) = model.filter(|name| name.len() <= MAX_NAME_BYTES) else {
            return;
        };
        let mut models = self.models.borrow_mut();
        let known = models.iter().position(|(known, _)| known == name);
        let mut model = if let Some(index) = known {
            models.remove(index)
        } else {
            if models.len() >= MAX_MODELS {
                models.remove(0);
            }
            (name.to_owned(), Model::START)
        };
        model.1.learn(observation);
        models.push(model);
    }

    /// Returns a value of a model; of the start values if the model is unknown.
    fn of<T>(&self, name: Option<&str>, read: impl FnOnce(&Model) -> T) -> T {
        let models = self.models.borrow();
        let known = name.and_then(|name| models.iter().find(|(known, _)| known == name));
        read(known.map_or(&Model::START, |(_, model)| model))
    }
}

// === impl Model ===

impl Model {
    /// A model without observations: English prose with the tokenizers of the large
    /// providers, in JSON in requests.
    const START: Self = Self {
        input_ratio: Ratio::new(4_500),
        part_tokens: PartTokens::START,
        output_ratio: Ratio::new(4_300),
        output: ExpectedOutput {
            responses: Histogram::new(MAX_RESPONSES),
            tokens: START_OUTPUT_TOKENS,
            set_at: Duration::ZERO,
        },
        longest_output: 0,
        rate: Rate {
            responses: Histogram::new(MAX_RATE_TOKENS),
        },
    };

    fn learn(&mut self, observation: &Observation) {
        let Observation {
            input_bytes,
            input_parts,
            output_bytes,
            usage,
            is_bounded,
            duration,
            ended_at,
        } = *observation;
        if input_parts == 0 {
            self.input_ratio.observe(input_bytes, usage.input_tokens);
        } else {
            // What is not text would spoil the ratio of text.
            let text = self.input_ratio.tokens(input_bytes);
            let tokens = usage.input_tokens.saturating_sub(text);
            self.part_tokens.observe(tokens, input_parts);
        }
        self.output_ratio.observe(output_bytes, usage.output_tokens);
        self.longest_output = self.longest_output.max(usage.output_tokens);
        if !is_bounded && usage.output_tokens > 0 {
            self.output.observe(usage.output_tokens, ended_at);
        }
        if let Some(duration) = duration {
            self.rate.observe(usage.output_tokens, duration);
        }
    }
}

// === impl ExpectedOutput ===

impl ExpectedOutput {
    #[cold]
    fn observe(&mut self, tokens: u64, at: Duration) {
        if self.responses.quantile(OUTPUT_QUANTILE).is_none() {
            self.responses.add(START_OUTPUT_TOKENS, START_WEIGHT);
        }
        let tokens = tokens.clamp(START_OUTPUT_TOKENS, MAX_VALUE);
        self.responses.add(tokens, 1);
        let quantile = self.responses.quantile(OUTPUT_QUANTILE);
        let quantile = quantile
            .filter(|bucket| bucket.min > START_OUTPUT_TOKENS)
            .map_or(START_OUTPUT_TOKENS, |bucket| bucket.max);
        let is_due = at.saturating_sub(self.set_at) >= HALF_LIFE;
        let least = if is_due { self.tokens / 2 } else { self.tokens };
        if is_due || quantile >= least {
            self.tokens = quantile.max(least);
            self.set_at = at;
        }
    }
}

// === impl Rate ===

impl Rate {
    fn tokens_per_second(&self) -> u64 {
        let quantile = self.responses.quantile(RATE_QUANTILE);
        quantile.map_or(START_RATE, |bucket| bucket.min)
    }

    #[cold]
    fn observe(&mut self, tokens: u64, duration: Duration) {
        if tokens < MIN_RATE_TOKENS {
            return;
        }
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let rate = tokens.saturating_mul(1_000_000).checked_div(microseconds);
        if let Some(rate) = rate.filter(|rate| PLAUSIBLE_RATES.contains(rate)) {
            let weight = tokens.min(MAX_RATE_WEIGHT);
            let weight = u32::try_from(weight).unwrap_or(u32::MAX);
            self.responses.add(rate, weight);
        }
    }
}
