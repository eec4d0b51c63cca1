//! What a request reserves at its counters until its usage is known.

use super::error::{AdmissionError, or_open};
use crate::attributes::{Attributes, Outcome};
use crate::ledger::Charge;
use crate::policies::{EvaluationError, Policies, Unit, price};
use crate::telemetry::{Count, Telemetry};
use filter_config::{
    Attribute, Expression, FailureMode, Limit, ReservationTtl, Unpriced, UsageField, Usd, bounds,
};
use limits::Nanos;
use usage_meter::Usage;

/// The most characters of a model's name in the log.
const MAX_MODEL_CHARS: usize = 64;

/// The expected usage of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expected<'a> {
    /// The requested model.
    pub(crate) model: Option<&'a str>,
    /// The tokens.
    pub(crate) usage: Usage,
    /// The most tokens that are plausible, whatever bounds the request sets.
    pub(crate) plausible_tokens: u64,
}

// === impl Expected ===

impl Expected<'_> {
    /// Returns the expected cost in dollars; 0 where there are no prices.
    fn usd(&self, policies: &Policies) -> Usd {
        let pricing = policies.configuration().pricing.as_ref();
        pricing.map_or(Usd(0), |pricing| {
            price::priced(pricing, self.model, &self.usage).usd
        })
    }
}

/// Returns a charge with the amount that it reserves; `None` where that cannot be computed and the
/// failure mode is to allow.
///
/// # Errors
/// [`AdmissionError`], where the failure mode is to deny, and for a model without a price.
pub(super) fn reserve(
    policies: &Policies,
    telemetry: &Telemetry,
    attributes: &mut Attributes,
    mut charge: Charge,
    expected: &Expected<'_>,
    failed_open: &mut bool,
) -> Result<Option<Charge>, AdmissionError> {
    let Some((rate, policy, limit)) = policies.rate_of(charge.rate) else {
        return Ok(None);
    };
    let amount = match charge.unit {
        Unit::InFlight | Unit::Requests(_) => Ok(1),
        Unit::Usd(_) if is_rejected(policies, limit, expected) => {
            return Err(AdmissionError::Unpriced {
                policy: policy.name.clone(),
                limit: limit.name.clone(),
                index: rate.limit,
                model: shown(expected.model.unwrap_or_default()),
            });
        }
        Unit::Usd(_) => Ok(expected.usd(policies).0),
        Unit::Tokens(_) => tokens(policies, attributes, limit, expected),
    };
    let amount = amount.or_else(|(field, error)| match error {
        // Neither does it exclude others from a counter, nor does it follow the failure mode: it would free
        // a client that chose the number.
        EvaluationError::Implausible(_) => {
            telemetry.count(Count::EvaluationErrors);
            let path = format!("limits.{}.{field}", limit.name);
            telemetry.evaluation_failed(&policy.name, &path, &error);
            Ok(expected.usage.total_tokens)
        }
        error => Err((field, error)),
    });
    let ttl = ttl(policies, attributes, limit).map_err(|error| ("reservation.ttl", error));
    let amount = amount.and_then(|amount| Ok((amount, ttl?)));
    let amount = amount.map_err(|(field, error)| {
        AdmissionError::evaluation(policy, format!("limits.{}.{field}", limit.name), error)
    });
    let mode = if charge.is_enforced {
        policies.configuration().failure_mode
    } else {
        FailureMode::Allow
    };
    let amount = or_open(
        telemetry,
        mode,
        charge.is_enforced,
        failed_open,
        amount.map(Some),
    )?;
    Ok(amount.map(|(amount, ttl)| {
        charge.ttl = ttl;
        // More than the limit cannot be used, and would exclude requests with a higher limit.
        charge.counter.amount = amount.min(charge.counter.limit);
        charge
    }))
}

/// Returns how long a reservation lives that is never settled. A client that can choose the time cannot make it
/// shorter than the default: its exchange would no longer be reserved for.
fn ttl(
    policies: &Policies,
    attributes: &mut Attributes,
    limit: &Limit,
) -> Result<Nanos, EvaluationError> {
    let reservation = limit.reservation.as_ref();
    match reservation.and_then(|reservation| reservation.ttl.as_ref()) {
        None => Ok(Charge::DEFAULT_TTL),
        Some(ReservationTtl::Fixed(ttl)) => Ok(Nanos::from(*ttl)),
        Some(ReservationTtl::Computed(expression)) => {
            let ttl = policies.evaluator().window(attributes, expression)?;
            let within = &bounds::RESERVATION_TTL;
            let min = if expression.is_client_controlled() {
                Charge::DEFAULT_TTL
            } else {
                Nanos::from(*within.start())
            };
            Ok(ttl.clamp(min, Nanos::from(*within.end())))
        }
    }
}

/// Returns what is reserved of a limit on tokens: its `reservation.amount`, else its cost, else the
/// expected tokens; at most its `reservation.max`. An error comes with the field of the limit.
fn tokens(
    policies: &Policies,
    attributes: &mut Attributes,
    limit: &Limit,
    expected: &Expected<'_>,
) -> Result<u64, (&'static str, EvaluationError)> {
    let amount = unbounded_tokens(policies, attributes, limit, expected)?;
    let reservation = limit.reservation.as_ref();
    let max = reservation.and_then(|reservation| reservation.max);
    Ok(max.map_or(amount, |max| amount.min(max)))
}

/// Returns what would be reserved of a limit on tokens without its `reservation.max`.
fn unbounded_tokens(
    policies: &Policies,
    attributes: &mut Attributes,
    limit: &Limit,
    expected: &Expected<'_>,
) -> Result<u64, (&'static str, EvaluationError)> {
    let amount = limit.reservation.as_ref();
    let amount = amount.and_then(|reservation| reservation.amount.as_ref());
    match (amount, &limit.cost) {
        (None, None) => Ok(expected.usage.total_tokens),
        (None, Some(cost)) => {
            let cost = expected_cost(policies, attributes, cost, expected);
            cost.map_err(|error| ("cost", error))
        }
        (Some(amount), cost) => {
            let evaluator = policies.evaluator();
            // The cost is evaluated at the end of the exchange, when the host no longer has the
            // attributes.
            let resolved = cost
                .iter()
                .try_for_each(|cost| evaluator.resolve(attributes, cost));
            // What a client claims counts as far as it is plausible. A cost may have another unit.
            let is_claimed = cost.is_none() && amount.is_client_controlled();
            let amount = evaluator.amount(attributes, amount);
            resolved.map_err(|error| ("cost", error))?;
            let amount = amount.map_err(|error| ("reservation.amount", error))?;
            Ok(if is_claimed {
                amount.min(expected.plausible_tokens)
            } else {
                amount
            })
        }
    }
}

/// Returns whether a request is rejected because its model has no price.
fn is_rejected(policies: &Policies, limit: &Limit, expected: &Expected<'_>) -> bool {
    let pricing = policies.configuration().pricing.as_ref();
    let (Some(pricing), Some(model)) = (pricing, expected.model) else {
        return false;
    };
    pricing.unpriced == Unpriced::Reject && limit.enforces() && pricing.of(model).is_none()
}

/// Returns the beginning of a name that a caller chose, for the log.
fn shown(name: &str) -> String {
    name.chars().take(MAX_MODEL_CHARS).collect()
}

/// Returns the expected value of a cost, for a response that succeeds. Where the cost needs more than
/// can be known before the response, the expected tokens stand in.
fn expected_cost(
    policies: &Policies,
    attributes: &mut Attributes,
    cost: &Expression,
    expected: &Expected<'_>,
) -> Result<u64, EvaluationError> {
    if attributes.outcome.is_none() {
        let outcome = Outcome::expected(expected.usage, expected.usd(policies));
        attributes.outcome = Some(Box::new(outcome));
    }
    policies.evaluator().resolve(attributes, cost)?;
    match policies.evaluator().amount(attributes, cost) {
        Err(_) if needs_response(cost) => Ok(expected.usage.total_tokens),
        result => result,
    }
}

/// Returns whether a cost reads what only the response has.
fn needs_response(cost: &Expression) -> bool {
    cost.uses().iter().any(|used| {
        matches!(
            used,
            Attribute::Response(_) | Attribute::Usage(UsageField::Raw)
        )
    })
}
