//! What usage costs in money.

#[cfg(test)]
mod tests;

use filter_config::{Price, Pricing, Unpriced, Usd};
use usage_meter::Usage;

/// How many tokens a price is of.
const MILLION: u128 = 1_000_000;

/// What usage is priced at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priced {
    /// What it costs.
    pub usd: Usd,
    /// Whether the model has a price of its own.
    pub is_known: bool,
}

/// What usage costs of these models, the one that was asked and the one that answered: of those that
/// have a price the dearer, as the caller chooses what he asks for; else what the configuration says of
/// models without one. Where it refuses them, and it came to this, that is the highest price there is:
/// nobody pays less by not saying which model he uses.
#[must_use]
pub fn priced<'a>(
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
            Unpriced::Refuse => pricing.highest(),
        };
        price.map_or(Usd(0), |price| cost(&price, usage))
    });
    Priced {
        usd,
        is_known: known.is_some(),
    }
}

/// What usage costs at a price, rounded up to a billionth of a dollar; an overflow saturates.
///
/// A part of the total that is neither input nor output costs as much as the dearer of the two.
#[must_use]
pub fn cost(price: &Price, usage: &Usage) -> Usd {
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
