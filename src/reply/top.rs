//! The answer to an administrator that lists the largest counters.

use super::error;
use super::units::unit;
use crate::policies::{Policies, RateIndex, tracked_values};
use limits::TopCounter;
use std::fmt::Write;

/// What stands for the values of a counter that are not known.
const UNKNOWN: &str = "[unknown]";

/// Appends a counter to a JSON array that has begun.
pub(crate) fn push_top(
    json: &mut String,
    policies: &Policies,
    rate: RateIndex,
    counter: &TopCounter,
) {
    let Some((rate, policy, limit)) = policies.rate_of(rate) else {
        return;
    };
    if !json.ends_with('[') {
        json.push(',');
    }
    // Writing to a string does not fail.
    let [policy, name] = [&policy.name, &limit.name].map(|name| error::text(name));
    let _ = write!(
        json,
        "{{\"policy\":{policy},\"limit\":{name},\"counter\":{{"
    );
    let mut values = tracked_values(&counter.text);
    for (index, expression) in limit.counters.iter().enumerate() {
        let separator = if index > 0 { "," } else { "" };
        let value = values.as_mut().and_then(Iterator::next);
        let [source, value] = [expression.source(), value.unwrap_or(UNKNOWN)].map(error::text);
        let _ = write!(json, "{separator}{source}:{value}");
    }
    let [used, bound] = [counter.used, counter.error].map(|amount| rate.unit.amount(amount));
    let unit = error::text(unit(rate.unit));
    let _ = write!(
        json,
        "}},\"used\":{used},\"error\":{bound},\"unit\":{unit}}}"
    );
}
