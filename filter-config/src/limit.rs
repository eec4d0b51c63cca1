//! The limits of a policy.

use crate::bounds;
use crate::expression::{Expression, Role};
use crate::fault::{FaultKind, Faults};
use crate::fields::{self, Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::rate::{self, Rate};

/// A limit: rates for each combination of values of its counters.
#[derive(Debug)]
pub struct Limit {
    /// The name, unique in its policy.
    pub name: String,
    /// The predicates that all have to hold for the limit to apply.
    pub when: Vec<Expression>,
    /// The expressions whose values together are the key that is counted under.
    pub counters: Vec<Expression>,
    /// The rates, at least one, no two with the same window.
    pub rates: Vec<Rate>,
}

const LIMIT: Schema = Schema {
    known: &["rates", "when", "counters"],
    ignored: &[],
    planned: &[
        "cost",
        "budgets",
        "requests",
        "concurrency",
        "alertAt",
        "shadow",
        "onExceeded",
        "reservation",
    ],
};

const PREDICATE: Schema = Schema {
    known: &["predicate"],
    ignored: &[],
    planned: &[],
};

const COUNTER: Schema = Schema {
    known: &["expression"],
    ignored: &[],
    planned: &[],
};

/// Reads the limits of a policy, by their names.
pub(crate) fn read(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Vec<Limit>> {
    let entries = fields::entries(json, path, faults)?;
    if entries.is_empty() {
        faults.push(path, FaultKind::MustNotBeEmpty);
    }
    if !fields::at_most(entries.len(), "limits", bounds::LIMITS, path, faults) {
        return None;
    }
    let mut limits = Vec::with_capacity(entries.len());
    for (name, json) in entries {
        let path = path.field(name);
        if name.is_empty() {
            faults.push(&path, FaultKind::Malformed("a limit must have a name"));
        } else if fields::at_most(name.len(), "bytes", bounds::NAME_BYTES, &path, faults) {
            fields::is_name(name, &path, faults);
        }
        limits.extend(limit(name, json, &path, faults));
    }
    Some(limits)
}

fn limit(name: &str, json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Limit> {
    let fields = Fields::read(json, path, &LIMIT, faults)?;
    let rates = fields
        .require("rates", path, faults)
        .and_then(|json| rate::read(json, &path.field("rates"), faults));
    let when = fields.read_or("when", path, faults, Vec::new, when);
    let counters = fields.read_or("counters", path, faults, Vec::new, counters);
    Some(Limit {
        name: name.to_owned(),
        when: when?,
        counters: counters?,
        rates: rates?,
    })
}

/// Reads a `when`: the predicates of a policy or of a limit.
pub(crate) fn when(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Vec<Expression>> {
    let items = fields::list(json, "predicates", bounds::PREDICATES, path, faults)?;
    Some(expressions(
        items,
        "predicate",
        &PREDICATE,
        Role::Predicate,
        path,
        faults,
    ))
}

fn counters(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Vec<Expression>> {
    let items = fields::list(json, "counters", bounds::COUNTERS, path, faults)?;
    Some(expressions(
        items,
        "expression",
        &COUNTER,
        Role::Counter,
        path,
        faults,
    ))
}

/// Reads a list of objects that hold one expression each.
fn expressions(
    items: &[Json],
    field: &str,
    schema: &Schema,
    role: Role,
    path: &Path<'_>,
    faults: &mut Faults,
) -> Vec<Expression> {
    let mut expressions = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let item_path = path.item(position);
        let path = item_path.field(field);
        let source = Fields::read(item, &item_path, schema, faults)
            .and_then(|fields| fields.require(field, &item_path, faults))
            .and_then(|json| fields::text(json, bounds::EXPRESSION_BYTES, &path, faults));
        match source.map(|source| Expression::compile(source, role)) {
            Some(Ok(expression)) => expressions.push(expression),
            Some(Err(errors)) => errors
                .into_iter()
                .for_each(|error| faults.push(&path, error)),
            None => {}
        }
    }
    expressions
}
