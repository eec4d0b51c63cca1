//! The charges of background responses, which are settled when their usage is known, or when they expire.

use super::cost::{CostContext, record};
use super::usage::MeteredUsage;
use crate::attributes::{Attributes, Body};
use crate::host::Headers;
use crate::ledger::{Admission, Charge, DeferredCharge, Ledger, Stage};
use crate::policies::{Policies, Unit, price};
use crate::telemetry::{Count, Telemetry};
use filter_config::{Attribute, LimitIndex};
use usage_meter::Usage;

/// What a deferred charge is settled with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DeferredCost<'a> {
    /// The usage that the response reports.
    Reported {
        /// The tokens.
        usage: Usage,
        /// The model that the response names.
        model: Option<&'a str>,
        /// The provider's report.
        raw: &'a [u8],
    },
    /// What was estimated when it was deferred.
    Estimate,
    /// Nothing: the response has failed.
    Nothing,
}

/// Sets the cost of each charge to that of an estimate.
pub(crate) fn estimate_costs(
    policies: &Policies,
    telemetry: &Telemetry,
    admission: &mut Admission,
    context: &mut CostContext<'_>,
) {
    for charge in &mut admission.charges {
        charge.counter.cost = context.at(policies, telemetry, charge);
    }
}

/// Settles a deferred charge, and releases its reservations.
///
/// Costs that read only the usage are computed from it. Others read the request, which is no longer
/// available: they are scaled from the cost of the estimated usage.
pub(crate) fn settle_deferred(
    policies: &Policies,
    ledger: &Ledger,
    telemetry: &Telemetry,
    deferred: DeferredCharge,
    cost: DeferredCost<'_>,
) {
    let DeferredCharge {
        mut admission,
        estimate,
        model: requested,
    } = deferred;
    take_over_reserved(policies, telemetry, &admission, 1);
    report_reserved(policies, telemetry, &admission, -1);
    let (metered, model, raw) = match cost {
        DeferredCost::Reported { usage, model, raw } => {
            let is_estimated = false;
            let metered = MeteredUsage {
                usage,
                is_estimated,
            };
            (Some(metered), model, raw)
        }
        DeferredCost::Estimate if estimate.total_tokens > 0 => {
            let metered = MeteredUsage {
                usage: estimate,
                is_estimated: true,
            };
            (Some(metered), None, [].as_slice())
        }
        DeferredCost::Estimate | DeferredCost::Nothing => (None, None, [].as_slice()),
    };
    let usd = metered.and_then(|metered| {
        let pricing = policies.configuration().pricing.as_ref()?;
        let models = [requested.as_deref(), model].into_iter().flatten();
        Some(price::priced(pricing, models, &metered.usage).usd)
    });
    if let Some(metered) = &metered {
        if metered.is_estimated {
            telemetry.count(Count::Estimated);
        }
        let model = model.or(requested.as_deref());
        telemetry.tokens(model, &metered.usage, usd);
    }
    let mut attributes = Attributes::new(Headers::default());
    attributes.body = Body::Opaque;
    let usd = usd.unwrap_or_default();
    let mut context = CostContext::new(metered, usd, Some(&mut attributes), raw);
    let settled = record(
        policies,
        ledger,
        telemetry,
        &mut admission,
        Stage::End,
        |charge| match &metered {
            Some(metered) if metered.is_estimated => charge.counter.cost,
            _ if reads_usage_only(policies, charge) => context.at(policies, telemetry, charge),
            None => 0,
            Some(metered) => DeferredCharge::in_proportion(
                charge.counter.cost,
                metered.usage.total_tokens,
                estimate.total_tokens,
            ),
        },
    );
    report_used(policies, telemetry, &admission.charges);
    if let Err(error) = settled {
        telemetry.count(Count::StorageErrors);
        let tokens = metered.map_or(0, |metered| metered.usage.total_tokens);
        Telemetry::usage_not_recorded(tokens, &error);
    }
}

/// Returns whether the cost of a charge follows from the usage.
fn reads_usage_only(policies: &Policies, charge: &Charge) -> bool {
    let Some((_, _, limit)) = policies.rate_of(charge.rate) else {
        return true;
    };
    let is_usage = |used: &Attribute| matches!(used, Attribute::Usage(_));
    let cost = limit.cost.as_ref();
    !matches!(charge.unit, Unit::Tokens(_))
        || cost.is_none_or(|cost| cost.uses().iter().all(is_usage))
}

/// Counts what an exchange has used of each limit, once, when that is certain.
pub(crate) fn report_used(policies: &Policies, telemetry: &Telemetry, charges: &[Charge]) {
    for charge in charges {
        if let Some(rate) = policies.rate(charge.rate) {
            telemetry.limit_used(rate.limit, charge.unit, charge.counter.cost);
        }
    }
}

/// Reports the tokens that an exchange reserves of each limit: with 1 as the sign when they are
/// reserved, and with -1 when they are released.
pub(crate) fn report_reserved(
    policies: &Policies,
    telemetry: &Telemetry,
    admission: &Admission,
    sign: i64,
) {
    for (limit, tokens) in reserved(policies, &admission.charges) {
        telemetry.reserved(limit, tokens.saturating_mul(sign));
    }
}

/// Removes the deferred charges of an exchange from what this worker subtracts from the gauge of reserved tokens, with
/// -1 as the sign, or adds them, with 1. The worker that settles a charge releases its reservation.
pub(crate) fn take_over_reserved(
    policies: &Policies,
    telemetry: &Telemetry,
    admission: &Admission,
    sign: i64,
) {
    let deferred = admission.charges.iter();
    let deferred = deferred.filter(|charge| charge.can_be_deferred());
    for (limit, tokens) in reserved(policies, deferred) {
        telemetry.take_over_reserved(limit, tokens.saturating_mul(sign));
    }
}

/// Returns the tokens that charges reserve of each limit. Of a limit's rates, which reserve the same, the first
/// counts.
fn reserved<'a>(
    policies: &'a Policies,
    charges: impl IntoIterator<Item = &'a Charge>,
) -> impl Iterator<Item = (LimitIndex, i64)> {
    charges.into_iter().filter_map(|charge| {
        let amount = charge.counter.amount;
        if charge.unit != Unit::Tokens(0) || amount == 0 {
            return None;
        }
        let rate = policies.rate(charge.rate)?;
        Some((rate.limit, i64::try_from(amount).unwrap_or(i64::MAX)))
    })
}
