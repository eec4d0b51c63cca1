//! What the policies need of a request, found once when they are compiled.

use super::identity::{CounterPosition, identities};
use filter_config::{Attribute, Configuration, Expression, Limit};
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
    /// Whether a limit changes requests. That takes their headers to be held.
    pub(crate) fallback: bool,
    /// Which attributes are retained until the exchange ends.
    pub(crate) retained: RetainedAttributes,
}

/// Which attributes of a request are retained for costs, which are evaluated when the exchange ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetainedAttributes {
    /// None: no limit has a cost of its own, and no cost is exported.
    None,
    /// All but the body.
    WithoutBody,
    /// All.
    WithBody,
}

// === impl Needs ===

impl Needs {
    /// Finds what a configuration needs.
    #[must_use]
    pub(super) fn of(configuration: &Configuration) -> Self {
        let changes = |limit: &Limit| !limit.alternatives().is_empty();
        Self {
            body: Arc::new(pointers(configuration)),
            llm: uses(configuration).any(|used| matches!(used, Attribute::Llm(_))),
            queue: limits(configuration).any(|limit| limit.queue().is_some()),
            identities: identities(configuration),
            fallback: configuration.hold_headers && limits(configuration).any(changes),
            retained: retained(configuration),
        }
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
    for used in uses(configuration) {
        if let Attribute::RequestBody(pointer) = used
            && !pointers.contains(&pointer.as_str())
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
        .flat_map(Expression::uses)
}

/// Returns the expressions of a limit.
fn expressions(limit: &Limit) -> impl Iterator<Item = &Expression> {
    let amount = limit.reservation.as_ref();
    let amount = amount.and_then(|reservation| reservation.amount.as_ref());
    let rates = limit.rates.iter().chain(&limit.requests);
    limit
        .when
        .iter()
        .chain(&limit.counters)
        .chain(amount)
        .chain(&limit.cost)
        .chain(rates.flat_map(filter_config::Rate::expressions))
}

/// Returns which attributes the costs of a configuration retain.
fn retained(configuration: &Configuration) -> RetainedAttributes {
    let exports = configuration.exports.iter().map(|export| &export.cost);
    let costs = limits(configuration)
        .filter_map(|limit| limit.cost.as_ref())
        .chain(exports);
    costs.fold(RetainedAttributes::None, |retained, cost| {
        let reads_body = |used: &Attribute| matches!(used, Attribute::RequestBody(_));
        if retained == RetainedAttributes::WithBody || cost.uses().iter().any(reads_body) {
            RetainedAttributes::WithBody
        } else {
            RetainedAttributes::WithoutBody
        }
    })
}
