//! The cost of an exchange at each counter.

use super::usage::MeteredUsage;
use crate::attributes::{Attributes, Outcome};
use crate::ledger::{Admission, Charge, Ledger, Stage};
use crate::policies::{EvaluationError, Policies, Unit};
use crate::telemetry::{Count, Telemetry};
use filter_config::{Attribute, Expression, LimitIndex, Usd};
use limits::StoreError;
use usage_meter::Usage;

/// What costs are computed from when an exchange ends.
#[derive(Debug)]
pub(crate) struct CostContext<'a> {
    /// The usage; `None` where the exchange costs nothing.
    usage: Option<MeteredUsage>,
    /// The cost of the usage in dollars.
    usd: Usd,
    /// The attributes of the request and, with their outcome, of the response; where there are costs.
    attributes: Option<&'a mut Attributes>,
    /// The cost that was computed last: a limit may have several rates.
    computed: Option<Computed>,
    /// Whether the response was read. If not, it costs at least what was reserved for it.
    is_read: bool,
}

/// The value of the cost expression of a limit.
#[derive(Clone, Copy, Debug)]
struct Computed {
    limit: LimitIndex,
    cost: u64,
    /// Whether the evaluation failed, so that `cost` is the total tokens.
    has_failed: bool,
}

// === impl Computed ===

impl Computed {
    /// Returns the cost at a charge. If the evaluation failed, it is at least what was reserved, so that no caller gains
    /// by making it fail.
    fn at(self, charge: &Charge) -> u64 {
        if self.has_failed {
            self.cost.max(charge.counter.amount)
        } else {
            self.cost
        }
    }
}

// === impl CostContext ===

impl<'a> CostContext<'a> {
    /// Returns the context of an exchange. `raw` is the provider's usage report as it was received.
    #[must_use]
    pub(crate) fn new(
        usage: Option<MeteredUsage>,
        usd: Usd,
        mut attributes: Option<&'a mut Attributes>,
        raw: &[u8],
    ) -> Self {
        if let Some(attributes) = &mut attributes {
            let response = attributes.outcome.take().unwrap_or_default().response;
            let mut outcome = Outcome::expected(Usage::default(), usd);
            outcome.estimated = false;
            if let Some(metered) = usage {
                (outcome.usage, outcome.estimated) = (metered.usage, metered.is_estimated);
            }
            outcome.raw = raw.to_vec();
            outcome.response = response;
            attributes.outcome = Some(Box::new(outcome));
        }
        Self {
            usage,
            usd,
            attributes,
            computed: None,
            is_read: true,
        }
    }

    /// Returns the context of an exchange whose response was read, or was not.
    #[must_use]
    pub(crate) fn read(self, is_read: bool) -> Self {
        Self { is_read, ..self }
    }

    /// Returns the tokens.
    fn tokens(&self) -> u64 {
        self.usage.map_or(0, |metered| metered.usage.total_tokens)
    }

    /// Returns the value of a cost expression. Without a result the cost is the tokens: no error makes
    /// an exchange free. Where nothing was used, only a cost that does not read usage can be more than
    /// nothing.
    ///
    /// The second value is the error to log, if there is one.
    fn evaluate(
        &mut self,
        policies: &Policies,
        telemetry: &Telemetry,
        cost: &Expression,
    ) -> (u64, Option<EvaluationError>) {
        let tokens = self.tokens();
        let reads_usage = |used: &Attribute| matches!(used, Attribute::Usage(_));
        if self.usage.is_none() && cost.uses().iter().any(reads_usage) {
            return (0, None);
        }
        let Some(attributes) = &mut self.attributes else {
            return (tokens, None);
        };
        match policies.evaluator().amount(attributes, cost) {
            Ok(cost) => (cost, None),
            Err(EvaluationError::Missing) => {
                telemetry.count(Count::MissingValues);
                (tokens, None)
            }
            Err(error) => {
                telemetry.count(Count::EvaluationErrors);
                (tokens, Some(error))
            }
        }
    }

    /// Returns the cost of the exchange in the unit of a charge.
    pub(super) fn at(
        &mut self,
        policies: &Policies,
        telemetry: &Telemetry,
        charge: &Charge,
    ) -> u64 {
        let reserved = match self.usage {
            Some(_) if !self.is_read => charge.counter.amount,
            _ => 0,
        };
        match charge.unit {
            Unit::Tokens(_) => self.at_tokens(policies, telemetry, charge).max(reserved),
            Unit::Usd(_) => self.usd.0.max(reserved),
            // A request that still reserves something was not counted when it was admitted.
            Unit::Requests(_) => charge.counter.amount,
            Unit::InFlight => 0,
        }
    }

    fn at_tokens(&mut self, policies: &Policies, telemetry: &Telemetry, charge: &Charge) -> u64 {
        let Some((rate, policy, limit)) = policies.rate_of(charge.rate) else {
            return 0;
        };
        let Some(cost) = &limit.cost else {
            return self.tokens();
        };
        let known = self
            .computed
            .filter(|computed| computed.limit == rate.limit);
        let computed = known.unwrap_or_else(|| {
            let (cost, error) = self.evaluate(policies, telemetry, cost);
            if let Some(error) = &error {
                let path = format!("limits.{}.cost", limit.name);
                telemetry.evaluation_failed(&policy.name, &path, error);
            }
            Computed {
                limit: rate.limit,
                cost,
                has_failed: error.is_some(),
            }
        });
        self.computed = Some(computed);
        computed.at(charge)
    }
}

/// Returns the most tokens that an exchange has reserved at a counter of tokens.
pub(crate) fn reserved_tokens(policies: &Policies, admission: &Admission) -> u64 {
    let counts_tokens = |charge: &&Charge| {
        let rate = policies.rate_of(charge.rate);
        matches!(charge.unit, Unit::Tokens(_))
            && rate.is_some_and(|(.., limit)| limit.cost.is_none())
    };
    let charges = admission.charges.iter().filter(counts_tokens);
    let amounts = charges.map(|charge| charge.counter.amount);
    amounts.max().unwrap_or_default()
}

/// Records the cost of an exchange at all of its counters, releases its reservations, and raises the
/// alerts that follow.
///
/// # Errors
/// [`StoreError`] when a counter could not be written; the others are.
pub(crate) fn settle(
    policies: &Policies,
    ledger: &Ledger,
    telemetry: &Telemetry,
    admission: &mut Admission,
    stage: Stage,
    context: &mut CostContext<'_>,
) -> Result<(), StoreError> {
    let cost = |charge: &Charge| context.at(policies, telemetry, charge);
    record(policies, ledger, telemetry, admission, stage, cost)
}

/// Settles an exchange whose cost at each counter is given.
pub(super) fn record(
    policies: &Policies,
    ledger: &Ledger,
    telemetry: &Telemetry,
    admission: &mut Admission,
    stage: Stage,
    mut cost: impl FnMut(&Charge) -> u64,
) -> Result<(), StoreError> {
    let mut before = Vec::with_capacity(admission.charges.len());
    let settled = ledger.settle(admission, stage, |charge| {
        before.push(charge.counter.charged.map_or(0, |charged| charged.cost()));
        cost(charge)
    });
    for (charge, before) in admission.charges.iter().zip(before) {
        let counter = &charge.counter;
        let added = counter.cost.saturating_sub(before);
        telemetry.alert(policies, charge.id(), &counter.standing, added);
    }
    settled
}

/// Reports the costs that the configuration exports to access logs and other filters.
pub(crate) fn export(policies: &Policies, telemetry: &Telemetry, context: &mut CostContext<'_>) {
    for (index, export) in policies.configuration().exports.iter().enumerate() {
        let (cost, error) = context.evaluate(policies, telemetry, &export.cost);
        if let Some(error) = error {
            let path = format!("export.{}", export.name);
            telemetry.evaluation_failed("", &path, &error);
        }
        telemetry.exported_cost(policies, index, cost);
    }
}
