//! What models cost.

#[cfg(test)]
mod tests;

use crate::bounds;
use crate::fault::{FaultKind, Faults};
use crate::fields::{self, Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::usd::{self, Usd};

/// The prices of models, and what becomes of a model that has none.
#[derive(Debug)]
pub struct Pricing {
    /// Names of models, with `*` for any text, and their prices: those without a `*` first, then the
    /// one with the most other characters.
    models: Vec<(String, Price)>,
    /// The price of every other model.
    pub default: Option<Price>,
    /// What becomes of a model without a price.
    pub unpriced: Unpriced,
}

/// What a million tokens of a model cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Of input that is neither read from a cache nor written to one.
    pub input: Usd,
    /// Of input that is read from a cache; as other input where it is not given.
    pub cached_input: Usd,
    /// Of input that is written to a cache; as other input where it is not given.
    pub cache_write: Usd,
    /// Of output that is no reasoning.
    pub output: Usd,
    /// Of reasoning; as other output where it is not given.
    pub reasoning: Usd,
}

/// What becomes of a model without a price, under a limit that has a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpriced {
    /// Requests that name it are refused; what another turns out to have used costs the highest price.
    Refuse,
    /// It costs nothing.
    Free,
    /// It has the default price.
    Default,
}

/// The key of the price of every other model.
const DEFAULT: &str = "default";

pub(crate) const PRICE: Schema = Schema {
    known: &["input", "cachedInput", "cacheWrite", "output", "reasoning"],
    ignored: &[],
};

// === impl Pricing ===

impl Pricing {
    /// The price of a model: that of its name, else of the longest pattern that it fits.
    #[must_use]
    pub fn of(&self, model: &str) -> Option<&Price> {
        let mut models = self.models.iter();
        let (_, price) = models.find(|(pattern, _)| fits(pattern.as_bytes(), model.as_bytes()))?;
        Some(price)
    }

    /// The highest price of each kind of tokens: nothing that is used can have cost more.
    #[must_use]
    pub fn highest(&self) -> Option<Price> {
        let prices = self.models.iter().map(|(_, price)| price);
        prices.chain(&self.default).copied().reduce(|a, b| Price {
            input: a.input.max(b.input),
            cached_input: a.cached_input.max(b.cached_input),
            cache_write: a.cache_write.max(b.cache_write),
            output: a.output.max(b.output),
            reasoning: a.reasoning.max(b.reasoning),
        })
    }
}

/// Whether a text fits a pattern, in which `*` stands for any text.
///
/// It goes back to the last `*` alone, so that it takes no longer than the product of the lengths.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0_usize, 0_usize);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(seen) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at = at.saturating_add(1);
            }
            Some(wanted) if wanted == byte => {
                at = at.saturating_add(1);
                seen = seen.saturating_add(1);
            }
            _ => {
                let Some((begun, taken)) = star else {
                    return false;
                };
                // The `*` takes one byte more.
                let taken = taken.saturating_add(1);
                star = Some((begun, taken));
                at = begun.saturating_add(1);
                seen = taken;
            }
        }
    }
    pattern
        .get(at..)
        .is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

/// What orders patterns: names before patterns, and of patterns the longest first.
fn rank(pattern: &str) -> (bool, std::cmp::Reverse<usize>) {
    let literal = pattern.bytes().filter(|byte| *byte != b'*').count();
    (pattern.contains('*'), std::cmp::Reverse(literal))
}

/// Reads `pricing`, with what the configuration says of models without a price.
pub(crate) fn read(
    json: &Json,
    unpriced: Option<Unpriced>,
    path: &Path<'_>,
    faults: &mut Faults,
) -> Option<Pricing> {
    let entries = fields::entries(json, path, faults)?;
    if entries.is_empty() {
        faults.push(path, FaultKind::MustNotBeEmpty);
    }
    if !fields::at_most(entries.len(), "models", bounds::PRICES, path, faults) {
        return None;
    }
    let mut models = Vec::with_capacity(entries.len());
    let mut default = None;
    for (model, json) in entries {
        let path = path.field(model);
        let named = fields::at_most(model.len(), "bytes", bounds::NAME_BYTES, &path, faults)
            && fields::is_name(model, &path, faults);
        let (true, Some(price)) = (named, price(json, &path, faults)) else {
            continue;
        };
        if model == DEFAULT {
            default = Some(price);
        } else {
            models.push((model.clone(), price));
        }
    }
    models.sort_by_key(|(pattern, _)| rank(pattern));
    let unpriced = match (unpriced, default) {
        (None, Some(_)) => Unpriced::Default,
        (None, None) => Unpriced::Refuse,
        (Some(Unpriced::Default), None) => {
            faults.push(&path.field(DEFAULT), FaultKind::Missing);
            return None;
        }
        (Some(Unpriced::Refuse | Unpriced::Free), Some(_)) => {
            faults.push(&path.field(DEFAULT), FaultKind::NeverUsed);
            return None;
        }
        (Some(unpriced), _) => unpriced,
    };
    Some(Pricing {
        models,
        default,
        unpriced,
    })
}

fn price(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Price> {
    let fields = Fields::read(json, path, &PRICE, faults)?;
    let mut read = |name: &str, or: Option<Usd>| {
        if let (None, Some(usd)) = (fields.get(name), or) {
            return Some(usd);
        }
        let json = fields.require(name, path, faults)?;
        usd::read(json, &bounds::PRICE_BILLIONTHS, &path.field(name), faults)
    };
    let input = read("input", None);
    let cached_input = read("cachedInput", Some(input.unwrap_or_default()));
    let cache_write = read("cacheWrite", Some(input.unwrap_or_default()));
    let output = read("output", None);
    let reasoning = read("reasoning", Some(output.unwrap_or_default()));
    Some(Price {
        input: input?,
        cached_input: cached_input?,
        cache_write: cache_write?,
        output: output?,
        reasoning: reasoning?,
    })
}

/// Reads `unpriced`.
pub(crate) fn unpriced(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Unpriced> {
    let choices = [
        ("refuse", Unpriced::Refuse),
        ("free", Unpriced::Free),
        ("default", Unpriced::Default),
    ];
    fields::choice(json, &choices, path, faults)
}
