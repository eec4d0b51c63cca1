//! Estimates of tokens from bytes, where nobody counts them: what a request will use, and what an
//! exchange has used whose response did not say.
//!
//! How many bytes make a token depends on the model, its tokenizer and what it is used for, so the
//! ratios are learnt from the exchanges that did report, for each model apart.

#[cfg(test)]
mod tests;

use crate::meter::Usage;
use std::cell::RefCell;

/// How many models are told apart; of those that come later nothing is learnt.
pub const MOST_MODELS: usize = 64;

/// Ratios are in thousandths of a byte per token.
const MILLI: u64 = 1000;

/// What is known of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ratios {
    /// Bytes of request body per input token.
    input: u64,
    /// Bytes of generated text per output token, those not shown counted as tokens.
    output: u64,
    /// Output tokens of an exchange.
    mean_output: u64,
    /// How many observations are in each.
    seen: Seen,
}

/// How many observations are in each of the ratios, up to [`WEIGHT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    input: u64,
    output: u64,
    mean_output: u64,
}

/// English prose over the tokenizers of the large providers, with its JSON around it in requests;
/// answers of half a page.
const START: Ratios = Ratios {
    input: 4_500,
    output: 4_300,
    mean_output: 400,
    seen: Seen {
        input: 0,
        output: 0,
        mean_output: 0,
    },
};

/// Ratios that no tokenizer leaves, in thousandths of a byte per token.
const SANE: std::ops::RangeInclusive<u64> = 500..=32_000;

/// An exchange with fewer tokens than this says little about ratios.
const TELLING: u64 = 16;

/// No model answers with more tokens.
const LARGEST_OUTPUT: u64 = 1_000_000;

/// A new observation counts for one part in so many, once there are so many.
const WEIGHT: u64 = 8;

/// What was learnt, by model.
#[derive(Debug, Default)]
pub struct Estimates {
    models: RefCell<Vec<(String, Ratios)>>,
}

// === impl Estimates ===

impl Estimates {
    /// Tokens of a request of so many bytes.
    #[must_use]
    pub fn input_tokens(&self, model: Option<&str>, bytes: u64) -> u64 {
        tokens(bytes, self.ratios(model).input)
    }

    /// Tokens of so many bytes of generated text.
    #[must_use]
    pub fn output_tokens(&self, model: Option<&str>, bytes: u64) -> u64 {
        tokens(bytes, self.ratios(model).output)
    }

    /// Output tokens of an exchange about which nothing is known but its model.
    #[must_use]
    pub fn mean_output(&self, model: Option<&str>) -> u64 {
        self.ratios(model).mean_output
    }

    /// Learns from an exchange that reported its usage.
    pub fn learn(&self, model: Option<&str>, request_bytes: u64, output_bytes: u64, usage: &Usage) {
        let Some(model) = model else { return };
        let mut models = self.models.borrow_mut();
        let known = models.iter().position(|(known, _)| known == model);
        let at = known.unwrap_or(models.len());
        if at == models.len() && at < MOST_MODELS {
            models.push((model.to_owned(), START));
        }
        let Some((_, ratios)) = models.get_mut(at) else {
            return;
        };
        let seen = &mut ratios.seen;
        let (input, output) = (usage.input_tokens, usage.output_tokens);
        observe(&mut ratios.input, &mut seen.input, request_bytes, input);
        observe(&mut ratios.output, &mut seen.output, output_bytes, output);
        if output > 0 {
            let output = output.min(LARGEST_OUTPUT);
            towards(&mut ratios.mean_output, &mut seen.mean_output, output);
        }
    }

    fn ratios(&self, model: Option<&str>) -> Ratios {
        let models = self.models.borrow();
        let known = model.and_then(|model| models.iter().find(|(known, _)| known == model));
        known.map_or(START, |(_, ratios)| *ratios)
    }
}

/// Bytes at a ratio, rounded up: whatever passed costs something.
fn tokens(bytes: u64, ratio: u64) -> u64 {
    bytes.saturating_mul(MILLI).div_ceil(ratio.max(1))
}

/// Moves a ratio towards the one that was observed, where it says anything.
fn observe(ratio: &mut u64, seen: &mut u64, bytes: u64, tokens: u64) {
    if tokens < TELLING {
        return;
    }
    let Some(observed) = bytes.saturating_mul(MILLI).checked_div(tokens) else {
        return;
    };
    if SANE.contains(&observed) {
        towards(ratio, seen, observed);
    }
}

/// The mean of the first observations, then a moving average.
fn towards(mean: &mut u64, seen: &mut u64, observed: u64) {
    *seen = seen.saturating_add(1).min(WEIGHT);
    let part = |value: u64| value.checked_div(*seen).unwrap_or_default();
    let rest = mean.saturating_sub(part(*mean));
    *mean = rest.saturating_add(part(observed)).max(1);
}
