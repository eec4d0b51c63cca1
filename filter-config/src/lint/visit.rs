//! The expressions of a configuration, each with its role and its path.

use crate::configuration::Configuration;
use crate::expression::{Attribute, Expression, Role};
use crate::limit::{Limit, ReservationTtl};
use crate::path::Path;
use crate::policy::Policy;
use crate::rate::{Rate, RateLimit, RateWindow};

/// The path of a policy that is the whole configuration.
const ROOT: &str = "configuration";

/// A function that is called with each expression.
type Visit<'v> = &'v mut dyn FnMut(&Expression, Role, &Path<'_>);

/// Calls a function with each expression.
pub(super) fn expressions(configuration: &Configuration, visit: Visit<'_>) {
    for policy in &configuration.policies {
        of_policy(policy, &mut |path| {
            predicates(&policy.when, path, visit);
            let limits = path.field("limits");
            for limit in &policy.limits {
                of_limit(limit, &limits.field(&limit.name), visit);
            }
        });
    }
    let path = Path::Root.field("access");
    for (position, rule) in configuration.access.iter().enumerate() {
        if let Some(when) = &rule.when {
            visit(when, Role::Predicate, &path.item(position).field("when"));
        }
    }
    let endpoint = configuration.usage_endpoint.as_ref();
    if let Some(when) = endpoint.and_then(|endpoint| endpoint.admin.as_ref()) {
        let path = Path::Root.field("admin");
        visit(when, Role::Predicate, &path.field("when"));
    }
    let path = Path::Root.field("export");
    for export in &configuration.exports {
        visit(&export.cost, Role::Cost, &path.field(&export.name));
    }
}

/// Calls a function with the path to the spec of a policy.
pub(super) fn at_spec(policy: &Policy, visit: &mut dyn FnMut(&Path<'_>)) {
    let root = match policy.path.as_str() {
        ROOT => Path::Root,
        path => Path::At(path),
    };
    visit(&root.field("spec"));
}

/// Calls a function with the path to the part of a policy that has its limits.
pub(super) fn of_policy(policy: &Policy, visit: &mut dyn FnMut(&Path<'_>)) {
    at_spec(policy, &mut |spec| match policy.section {
        Some(section) => visit(&spec.field(section)),
        None => visit(spec),
    });
}

/// Returns whether an expression reads `auth`.
pub(super) fn reads_auth(configuration: &Configuration) -> bool {
    let mut reads = false;
    expressions(configuration, &mut |expression, _, _| {
        let mut uses = expression.uses().iter();
        reads |= uses.any(|attribute| matches!(attribute, Attribute::Auth(_)));
    });
    reads
}

fn predicates(predicates: &[Expression], path: &Path<'_>, visit: Visit<'_>) {
    let path = path.field("when");
    for (position, predicate) in predicates.iter().enumerate() {
        let path = path.item(position);
        visit(predicate, Role::Predicate, &path.field("predicate"));
    }
}

fn of_limit(limit: &Limit, path: &Path<'_>, visit: Visit<'_>) {
    predicates(&limit.when, path, visit);
    let counters = path.field("counters");
    for (position, counter) in limit.counters.iter().enumerate() {
        let path = counters.item(position);
        visit(counter, Role::Counter, &path.field("expression"));
    }
    if let Some(cost) = &limit.cost {
        visit(cost, Role::Cost, &path.field("cost"));
    }
    for (name, rates) in [("rates", &limit.rates), ("requests", &limit.requests)] {
        let path = path.field(name);
        for (position, rate) in rates.iter().enumerate() {
            of_rate(rate, &path.item(position), visit);
        }
    }
    if let Some(reservation) = &limit.reservation {
        let path = path.field("reservation");
        if let Some(amount) = &reservation.amount {
            visit(amount, Role::Amount, &path.field("amount"));
        }
        if let Some(ReservationTtl::Computed(ttl)) = &reservation.ttl {
            visit(ttl, Role::Ttl, &path.field("ttl"));
        }
    }
}

fn of_rate(rate: &Rate, path: &Path<'_>, visit: Visit<'_>) {
    if let RateLimit::Computed { expression, .. } = &rate.limit {
        visit(expression, Role::Limit, &path.field("limit"));
    }
    if let RateWindow::Computed { expression, .. } = &rate.window {
        visit(expression, Role::Window, &path.field("window"));
    }
}
