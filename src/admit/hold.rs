//! What a request holds of its counters until its usage is known.

use super::{EvaluationError, Fault, amount, evaluate, or_open};
use crate::attributes::{Attributes, Outcome};
use crate::plugin::{Charge, Counts, Plugin};
use crate::settle::price;
use filter_config::{Attribute, Expression, FailureMode, Limit, Unpriced, UsageField, Usd};
use usage_meter::Usage;

/// What a request is expected to use.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected<'a> {
    /// The model that it asks.
    pub model: Option<&'a str>,
    /// The tokens.
    pub usage: Usage,
}

impl Expected<'_> {
    /// What it costs; nothing where there are no prices.
    fn usd(&self, plugin: &Plugin) -> Usd {
        let pricing = plugin.configuration.pricing.as_ref();
        pricing.map_or(Usd(0), |pricing| {
            price::priced(pricing, self.model, &self.usage).usd
        })
    }
}

/// A charge with what is held for it; `None` where that cannot be told and the failure mode is to
/// allow.
///
/// # Errors
/// [`Fault`], where the failure mode is to deny, and for a model without a price.
pub(super) fn hold(
    plugin: &Plugin,
    attributes: &mut Attributes,
    charge: Charge,
    expected: &Expected<'_>,
    failed_open: &mut bool,
) -> Result<Option<Charge>, Fault> {
    let rate = plugin.rates.get(charge.rate);
    let Some((rate, (policy, limit))) = rate.and_then(|rate| Some((rate, plugin.limit_of(rate)?)))
    else {
        return Ok(None);
    };
    let fault = |place: &str, error| Fault::Evaluation {
        policy: policy.name.clone(),
        place: format!("limits.{}.{place}", limit.name),
        error,
    };
    let hold = match rate.counts {
        Counts::InFlight | Counts::Requests(_) => Ok(1),
        Counts::Usd(_) if is_refused(plugin, limit, expected) => {
            return Err(Fault::Unpriced {
                policy: policy.name.clone(),
                limit: limit.name.clone(),
                rate: charge.rate,
                model: shown(expected.model.unwrap_or_default()),
            });
        }
        Counts::Usd(_) => Ok(expected.usd(plugin).0),
        Counts::Tokens(_) => match (amount(limit), &limit.cost) {
            (None, None) => Ok(expected.usage.total_tokens),
            (None, Some(cost)) => {
                cost_of(plugin, attributes, cost, expected).map_err(|error| fault("cost", error))
            }
            (Some(amount), cost) => {
                let resolved = cost
                    .iter()
                    .try_for_each(|cost| evaluate::resolve(plugin, attributes, cost));
                let amount = evaluate::tokens(plugin, attributes, amount);
                resolved
                    .map_err(|error| fault("cost", error))
                    .and(amount.map_err(|error| fault("reservation.amount", error)))
            }
        },
    };
    let mode = if limit.refuses() {
        plugin.configuration.failure_mode
    } else {
        FailureMode::Allow
    };
    let hold = or_open(plugin, mode, failed_open, hold.map(Some))?;
    Ok(hold.map(|hold| Charge { hold, ..charge }))
}

/// Whether a request is refused because its model has no price.
fn is_refused(plugin: &Plugin, limit: &Limit, expected: &Expected<'_>) -> bool {
    let pricing = plugin.configuration.pricing.as_ref();
    let (Some(pricing), Some(model)) = (pricing, expected.model) else {
        return false;
    };
    pricing.unpriced == Unpriced::Refuse && limit.refuses() && pricing.of(model).is_none()
}

/// The beginning of a name that a caller chose, for the log.
fn shown(name: &str) -> String {
    const MOST: usize = 64;
    name.chars()
        .take(MOST)
        .flat_map(char::escape_debug)
        .collect()
}

/// What a request is expected to cost: what the cost makes of the usage that is expected, of a response
/// that succeeds. Where it needs more than can be known, its tokens stand for it.
fn cost_of(
    plugin: &Plugin,
    attributes: &mut Attributes,
    cost: &Expression,
    expected: &Expected<'_>,
) -> Result<u64, EvaluationError> {
    if attributes.outcome.is_none() {
        let outcome = Outcome::expected(expected.usage, expected.usd(plugin));
        attributes.outcome = Some(Box::new(outcome));
    }
    evaluate::resolve(plugin, attributes, cost)?;
    match evaluate::tokens(plugin, attributes, cost) {
        Err(_) if needs_response(cost) => Ok(expected.usage.total_tokens),
        result => result,
    }
}

/// Whether a cost reads what only the response tells, in whatever form.
fn needs_response(cost: &Expression) -> bool {
    cost.uses().iter().any(|used| {
        matches!(
            used,
            Attribute::Response(_) | Attribute::Usage(UsageField::Raw)
        )
    })
}
