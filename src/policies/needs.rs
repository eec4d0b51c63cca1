//! What the policies need of a request, found once when they are compiled.

use super::identity::{CounterPosition, identities};
use filter_config::{Attribute, Configuration, Expression, Limit, ResponseField, UsageField};
use std::collections::BTreeSet;
use std::sync::Arc;
use usage_meter::request::Pointers;

/// What expressions and limits need of a request.
#[derive(Debug)]
pub(crate) struct Needs {
    /// The JSON pointers at which expressions read the request's body.
    pub(crate) body: Arc<Pointers>,
    /// Whether an expression reads `llm`.
    pub(crate) llm: bool,
    /// Whether a limit queues requests.
    pub(crate) queue: bool,
    /// The counter expressions that identify callers.
    pub(super) identities: Vec<CounterPosition>,
    /// Whether a limit changes requests: it has fallbacks, or is hard. That takes their headers to be held.
    pub(crate) changes: bool,
    /// What costs read when an exchange ends; `None` where no limit has a cost of its own, and no cost is
    /// exported.
    pub(crate) costs: Option<CostNeeds>,
}

/// What costs read of an exchange, and hence what is retained until it ends.
#[derive(Debug, Default)]
pub(crate) struct CostNeeds {
    /// All attributes.
    pub(crate) uses: Vec<Attribute>,
    /// Whether one is the headers of the response.
    pub(crate) response_headers: bool,
    /// Whether one is the provider's usage report as written.
    pub(crate) raw_usage: bool,
}

// === impl Needs ===

impl Needs {
    /// Finds what a configuration needs.
    #[must_use]
    pub(super) fn of(configuration: &Configuration) -> Self {
        let changes = |limit: &Limit| !limit.alternatives().is_empty() || limit.cap.is_some();
        Self {
            body: Arc::new(pointers(configuration)),
            llm: uses(configuration).any(|used| matches!(used, Attribute::Llm(_))),
            queue: limits(configuration).any(|limit| limit.queue().is_some()),
            identities: identities(configuration),
            changes: configuration.hold_headers && limits(configuration).any(changes),
            costs: CostNeeds::of(configuration),
        }
    }
}

// === impl CostNeeds ===

impl CostNeeds {
    fn of(configuration: &Configuration) -> Option<Self> {
        let exports = configuration.exports.iter().map(|export| &export.cost);
        let of_limits = limits(configuration).filter_map(|limit| limit.cost.as_ref());
        let mut costs = of_limits.chain(exports).peekable();
        costs.peek()?;
        let mut needs = Self::default();
        let mut known = BTreeSet::new();
        for used in costs.flat_map(Expression::uses) {
            needs.response_headers |= *used == Attribute::Response(ResponseField::Headers);
            needs.raw_usage |= *used == Attribute::Usage(UsageField::Raw);
            if known.insert(used) {
                needs.uses.push(used.clone());
            }
        }
        Some(needs)
    }
}

/// Returns the limits of all policies.
fn limits(configuration: &Configuration) -> impl Iterator<Item = &Limit> {
    let policies = configuration.policies.iter();
    policies.flat_map(|policy| &policy.limits)
}

/// Returns the JSON pointers at which expressions of a configuration read the request's body.
fn pointers(configuration: &Configuration) -> Pointers {
    let mut pointers: Vec<&str> = Vec::new();
    let mut known = BTreeSet::new();
    for used in uses(configuration) {
        if let Attribute::RequestBody(pointer) = used
            && known.insert(pointer)
        {
            pointers.push(pointer);
        }
    }
    Pointers::new(&pointers)
}

/// Returns the attributes that the expressions of a configuration read.
fn uses(configuration: &Configuration) -> impl Iterator<Item = &Attribute> {
    let of_policies = configuration.policies.iter().flat_map(|policy| {
        let limits = policy.limits.iter().flat_map(expressions);
        policy.when.iter().chain(limits)
    });
    let of_exports = configuration.exports.iter().map(|export| &export.cost);
    of_policies
        .chain(of_exports)
        .chain(configuration.usage.include_usage.predicate())
        .chain(
            configuration
                .access
                .iter()
                .filter_map(|rule| rule.when.as_ref()),
        )
        .flat_map(Expression::uses)
}

/// Returns the expressions of a limit.
fn expressions(limit: &Limit) -> impl Iterator<Item = &Expression> {
    let reservation = limit.reservation.iter();
    let reservation = reservation.flat_map(filter_config::Reservation::expressions);
    let rates = limit.rates.iter().chain(&limit.requests);
    limit
        .when
        .iter()
        .chain(&limit.counters)
        .chain(reservation)
        .chain(&limit.cost)
        .chain(rates.flat_map(filter_config::Rate::expressions))
}
