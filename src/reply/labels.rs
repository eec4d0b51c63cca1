//! The labels of a rate in responses: the names of its limit and of its headers.

use super::units::{push, unit, window};
use crate::policies::{Rate, Unit};
use filter_config::{
    Configuration, HeaderNames, Limit, Placeholder, Policy, QuotaHeaders, Template,
};
use std::collections::BTreeMap;

/// The labels of a rate in responses, prepared with the configuration.
#[derive(Debug)]
pub(super) struct QuotaLabels {
    /// The limit's name as a string of a structured field (RFC 8941), with its quotes.
    pub(super) name: String,
    /// A name that no other rate has: that of the limit, with what distinguishes the rate if need be,
    /// as a string of a structured field.
    pub(super) key: String,
    /// The names of its headers, where the configuration has templates for them.
    pub(super) names: Option<HeaderLabels>,
}

/// The names of the headers of one rate.
#[derive(Debug)]
pub(super) struct HeaderLabels {
    pub(super) limit: Option<String>,
    pub(super) remaining: Option<String>,
    pub(super) reset: Option<String>,
    pub(super) retry_after: Option<String>,
}

/// The names of windows, by their seconds.
const PERIODS: [(u64, &str); 7] = [
    (1, "second"),
    (60, "minute"),
    (3_600, "hour"),
    (86_400, "day"),
    (604_800, "week"),
    (2_592_000, "month"),
    (31_536_000, "year"),
];

// === impl QuotaLabels ===

impl QuotaLabels {
    /// Returns the labels of each rate of a configuration.
    #[must_use]
    #[cold]
    pub(super) fn of(configuration: &Configuration, rates: &[Rate]) -> Vec<Self> {
        let policies = &configuration.policies;
        let mut named: BTreeMap<&str, usize> = BTreeMap::new();
        for limit in policies.iter().flat_map(|policy| &policy.limits) {
            let limits = named.entry(&limit.name).or_default();
            *limits = limits.saturating_add(1);
        }
        let mut labels: Vec<Self> = Vec::with_capacity(rates.len());
        for of_limit in rates.chunk_by(|a, b| a.limit == b.limit) {
            let limit = of_limit.first().and_then(|rate| {
                let policy = policies.get(rate.limit.policy)?;
                Some((policy, policy.limits.get(rate.limit.limit)?))
            });
            let Some((policy, limit)) = limit else {
                continue;
            };
            let mut key = limit.name.clone();
            if named
                .get(limit.name.as_str())
                .is_some_and(|limits| *limits > 1)
            {
                key = [&policy.name, "/", &limit.name].concat();
            }
            labels.extend(of_limit.iter().map(|rate| {
                let key = if of_limit.len() > 1 {
                    quoted(&[&key, "/", &distinction(rate, limit)].concat())
                } else {
                    quoted(&key)
                };
                let headers = match &configuration.replies.headers {
                    Some(QuotaHeaders::Named(headers)) => {
                        Some(HeaderLabels::new(headers, rate, policy, limit))
                    }
                    _ => None,
                };
                Self {
                    name: quoted(&limit.name),
                    key,
                    names: headers,
                }
            }));
        }
        labels
    }
}

// === impl HeaderLabels ===

impl HeaderLabels {
    /// Renders the templates for a rate.
    #[cold]
    pub(super) fn new(names: &HeaderNames, rate: &Rate, policy: &Policy, limit: &Limit) -> Self {
        let render = |template: &Template| {
            template.render_name(|placeholder, name| {
                write_placeholder(placeholder, rate, policy, limit, name);
            })
        };
        Self {
            limit: names.limit.as_ref().map(render),
            remaining: names.remaining.as_ref().map(render),
            reset: names.reset.as_ref().map(render),
            retry_after: names.retry_after.as_ref().map(render),
        }
    }
}

/// Returns what distinguishes a rate from the others of its limit.
fn distinction(rate: &Rate, limit: &Limit) -> String {
    let window = rate.written_window(limit);
    let window = window.map_or_else(|| rate.path(), str::to_owned);
    match rate.unit {
        Unit::Tokens(_) => window,
        Unit::InFlight => unit(rate.unit).to_owned(),
        _ => [unit(rate.unit), "/", &window].concat(),
    }
}

/// Appends the value of a placeholder to the name of a header.
fn write_placeholder(
    placeholder: Placeholder,
    rate: &Rate,
    policy: &Policy,
    limit: &Limit,
    name: &mut String,
) {
    let (namespace, policy) = policy.name.split_once('/').unwrap_or(("", &policy.name));
    match placeholder {
        Placeholder::Limit => name.push_str(&limit.name),
        Placeholder::Policy => name.push_str(policy),
        Placeholder::Namespace => name.push_str(namespace),
        Placeholder::Unit => name.push_str(unit(rate.unit)),
        Placeholder::Window => {
            name.push_str(rate.written_window(limit).unwrap_or(unit(rate.unit)));
        }
        Placeholder::Seconds => push(name, window(rate.unit, rate.counters).unwrap_or_default()),
        Placeholder::Period => {
            let length = window(rate.unit, rate.counters).unwrap_or_default();
            match PERIODS.iter().find(|(known, _)| *known == length) {
                Some((_, period)) => name.push_str(period),
                None => push(name, length),
            }
        }
        // Values, which have no place in a name.
        _ => {}
    }
}

/// Returns a text as a string of a structured field (RFC 8941, section 3.3.3), without the characters
/// that such a string cannot have.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ') {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}
