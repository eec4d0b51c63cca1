//! `pricing` and `unpriced`: the prices of models.

#[cfg(test)]
mod tests;

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::fields::{Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::reader;
use crate::usd::Usd;
use crate::values;

/// The prices of models, and the handling of models without a price.
#[derive(Debug)]
pub struct Pricing {
    /// Patterns of model names, in which `*` stands for any text, with their prices. Patterns without a `*` are first,
    /// then those with the most other characters.
    models: Vec<(String, Price)>,
    /// The price of all other models.
    pub default: Option<Price>,
    /// The handling of models without a price.
    pub unpriced: Unpriced,
}

/// The price of a million tokens of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Input that is neither read from a cache nor written to one.
    pub input: Usd,
    /// Input that is read from a cache; by default the price of other input.
    pub cached_input: Usd,
    /// Input that is written to a cache; by default the price of other input.
    pub cache_write: Usd,
    /// Output other than reasoning.
    pub output: Usd,
    /// Reasoning; by default the price of other output.
    pub reasoning: Usd,
}

/// The handling of a model without a price, under a limit that has a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpriced {
    /// Requests for it are rejected. If the model is only known from the response, its usage costs the highest price.
    Reject,
    /// Its usage costs nothing.
    Free,
    /// Its usage costs the default price.
    Default,
}

/// The key of the price of all other models.
const DEFAULT: &str = "default";

pub(crate) const PRICE: Schema = Schema {
    known: &["input", "cachedInput", "cacheWrite", "output", "reasoning"],
    ignored: &[],
};

// === impl Pricing ===

impl Pricing {
    /// Returns the price of a model: that of its name, or else of the longest pattern that matches it.
    #[must_use]
    pub fn of(&self, model: &str) -> Option<&Price> {
        let mut models = self.models.iter();
        let (_, price) =
            models.find(|(pattern, _)| matches(pattern.as_bytes(), model.as_bytes()))?;
        Some(price)
    }

    /// Returns all prices, each with its model or pattern.
    #[cfg(feature = "yaml")]
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &Price)> {
        let models = self.models.iter();
        let models = models.map(|(pattern, price)| (pattern.as_str(), price));
        models.chain(self.default.iter().map(|price| (DEFAULT, price)))
    }

    /// Returns the highest price of each kind of token: no usage can cost more.
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

/// Returns whether a text matches a pattern, in which `*` stands for any text.
///
/// It backtracks to the last `*` only, so that it takes at most the product of the lengths in time.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut matched) = (0_usize, 0_usize);
    // The position of the last `*`, and the end of the text that it stands for.
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(matched) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, matched));
                at = at.saturating_add(1);
            }
            Some(expected) if expected == byte => {
                at = at.saturating_add(1);
                matched = matched.saturating_add(1);
            }
            _ => {
                let Some((position, taken)) = star else {
                    return false;
                };
                // The `*` stands for one byte more.
                let taken = taken.saturating_add(1);
                star = Some((position, taken));
                at = position.saturating_add(1);
                matched = taken;
            }
        }
    }
    pattern
        .get(at..)
        .is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

/// Returns the sort key of a pattern: names first, then the longest pattern.
fn rank(pattern: &str) -> (bool, std::cmp::Reverse<usize>) {
    let literal = pattern.bytes().filter(|byte| *byte != b'*').count();
    (pattern.contains('*'), std::cmp::Reverse(literal))
}

/// Reads `pricing`. `unpriced` is the value of that field, if given.
pub(crate) fn read(
    json: &Json,
    unpriced: Option<Unpriced>,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Pricing, Invalid> {
    let entries = reader::entries(json, path, errors)?;
    if entries.is_empty() {
        errors.push(path, ErrorKind::Empty);
    }
    reader::at_most(entries.len(), "models", bounds::PRICES, path, errors)?;
    let mut models = Vec::with_capacity(entries.len());
    let mut default = None;
    for (model, json) in entries {
        let path = path.field(model);
        let name = reader::at_most(model.len(), "bytes", bounds::NAME_BYTES, &path, errors)
            .and_then(|()| reader::check_name(model, &path, errors));
        let (Ok(()), Ok(price)) = (name, price(json, &path, errors)) else {
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
        (None, None) => Unpriced::Reject,
        (Some(Unpriced::Default), None) => {
            return Err(errors.push(&path.field(DEFAULT), ErrorKind::MissingField));
        }
        (Some(Unpriced::Reject | Unpriced::Free), Some(_)) => {
            return Err(errors.push(&path.field(DEFAULT), ErrorKind::UnusedDefaultPrice));
        }
        (Some(unpriced), _) => unpriced,
    };
    Ok(Pricing {
        models,
        default,
        unpriced,
    })
}

fn price(json: &Json, path: &Path<'_>, errors: &mut ValidationErrors) -> Result<Price, Invalid> {
    let fields = Fields::read(json, path, &PRICE, errors)?;
    let mut read = |name: &str, or: Option<Usd>| {
        if let (None, Some(usd)) = (fields.get(name), or) {
            return Ok(usd);
        }
        fields.require(name, path, errors, |json, path, errors| {
            values::usd(json, &bounds::PRICE_BILLIONTHS, path, errors)
        })
    };
    let input = read("input", None);
    let cached_input = read("cachedInput", Some(input.unwrap_or_default()));
    let cache_write = read("cacheWrite", Some(input.unwrap_or_default()));
    let output = read("output", None);
    let reasoning = read("reasoning", Some(output.unwrap_or_default()));
    Ok(Price {
        input: input?,
        cached_input: cached_input?,
        cache_write: cache_write?,
        output: output?,
        reasoning: reasoning?,
    })
}

/// Reads `unpriced`.
pub(crate) fn unpriced(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Unpriced, Invalid> {
    let choices = [
        ("reject", Unpriced::Reject),
        ("free", Unpriced::Free),
        ("default", Unpriced::Default),
    ];
    reader::choice_or_alias(json, &choices, ("refuse", Unpriced::Reject), path, errors)
}
