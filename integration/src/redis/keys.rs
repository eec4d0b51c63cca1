//! The keys of counters in Redis, in limitador's own layout.
//!
//! The namespace is in braces, so that all keys of a request are on one node of a cluster.

use std::{collections::BTreeMap, sync::Arc};

use limitador::{counter::Counter, limit::Limit};
use serde::Serialize;

/// The fields that identify a counter, without those that change.
#[derive(Serialize)]
struct Identity<'a> {
    limit: &'a Limit,
    set_variables: &'a BTreeMap<String, String>,
    remaining: (),
    expires_in: (),
}

/// The key of a counter, whose value is the usage.
pub(super) fn counter(counter: &Counter) -> String {
    let identity = json(&Identity {
        limit: counter.limit(),
        set_variables: counter.set_variables(),
        remaining: (),
        expires_in: (),
    });
    let namespace = counter.namespace().as_ref();
    format!("namespace:{{{namespace}}},counter:{identity}")
}

/// The key of the reservations of a counter: a hash from their ids to `amount:expiry`, with the expiry in milliseconds
/// since the epoch.
pub(super) fn reservations(counter: &str) -> String {
    format!("{counter},reservations")
}

/// The key of the set of all counters of a limit.
pub(super) fn counters_of(limit: &Limit) -> String {
    let namespace = limit.namespace().as_ref();
    format!(
        "namespace:{{{namespace}}},counters_of_limit:{}",
        json(limit)
    )
}

/// The counter of a limit that has this key.
pub(super) fn counter_of(key: &str, limit: &Arc<Limit>) -> Option<Counter> {
    let namespace = limit.namespace().as_ref();
    let identity = key.strip_prefix(&format!("namespace:{{{namespace}}},counter:"))?;
    let mut counter: Counter = serde_json::from_str(identity).ok()?;
    counter
        .update_to_limit(Arc::clone(limit))
        .then_some(counter)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("strings and numbers with string keys")
}

#[cfg(test)]
mod tests;
