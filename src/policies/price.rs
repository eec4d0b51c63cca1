//! Prices: what usage costs in US dollars.

#[cfg(test)]
mod tests;

use filter_config::{Price, Pricing, Unpriced, Usd};
use usage_meter::Usage;

/// The number of tokens that a price is for.
const MILLION: u128 = 1_000_000;

/// What usage costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Priced {
    /// The cost.
    pub(crate) usd: Usd,
    /// Whether one of the models has a price of its own.
    pub(crate) is_known: bool,
}

/// Returns what usage costs, by the requested model and the one that answered.
///
/// Of the models that have a price, the more expensive one counts, because the caller chooses the
/// name that it requests. Where neither has one, `pricing.unpriced` decides; where that rejects such
/// models and one was used nevertheless, the highest price of all counts: no caller is charged less
/// by hiding its model.
#[must_use]
pub(crate) fn priced<'a>(
    pricing: &Pricing,
    models: impl IntoIterator<Item = &'a str>,
    usage: &Usage,
) -> Priced {
    let prices = models.into_iter().filter_map(|model| pricing.of(model));
    let known = prices.map(|price| cost(price, usage)).max();
    let usd = known.unwrap_or_else(|| {
        let price = match pricing.unpriced {
            Unpriced::Free => None,
            Unpriced::Default => pricing.default,
            Unpriced::Reject => pricing.highest(),
        };
        price.map_or(Usd(0), |price| cost(&price, usage))
    });
    Priced {
        usd,
        is_known: known.is_some(),
    }
}

/// Returns what usage costs at a price, rounded up to a billionth of a dollar; an overflow saturates.
///
/// Tokens of the total that are neither input nor output cost the higher of the two prices.
#[must_use]
pub(crate) fn cost(price: &Price, usage: &Usage) -> Usd {
    let input = usage.input_tokens;
    let cached = usage.cached_tokens.min(input);
    let written = usage
        .cache_creation_tokens
        .min(input.saturating_sub(cached));
    let fresh = input.saturating_sub(cached).saturating_sub(written);
    let output = usage.output_tokens;
    let reasoning = usage.reasoning_tokens.min(output);
    let plain = output.saturating_sub(reasoning);
    let rest = usage
        .total_tokens
        .saturating_sub(input.saturating_add(output));
    let millionfold = [
        (fresh, price.input),
        (cached, price.cached_input),
        (written, price.cache_write),
        (plain, price.output),
        (reasoning, price.reasoning),
        (rest, price.input.max(price.output)),
    ]
    .into_iter()
    .map(|(tokens, price)| u128::from(tokens).saturating_mul(price.0.into()))
    .fold(0, u128::saturating_add);
    Usd(u64::try_from(millionfold.div_ceil(MILLION)).unwrap_or(u64::MAX))
}
