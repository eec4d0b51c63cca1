//! Limits that do not count what their names say, or count it twice.

use std::collections::BTreeMap;

use crate::configuration::Configuration;
use crate::error::ValidationErrors;
use crate::expression::Expression;
use crate::limit::Limit;
use crate::path::Path;
use crate::policy::Policy;
use crate::rate::{Rate, RateLimit, RateWindow};
use crate::storage::{Remote, Storage};
use crate::warning::{Notice, WarningCode};

use super::visit;

/// Words before the name of what a limit counts for.
const EACH: [&str; 4] = ["each", "every", "per", "by"];

/// The part of a limit that a slice has at most, as a divisor.
const LEASED_PART: u64 = 10;

/// Words after them that name no caller: `tokens-per-minute`.
const UNITS: [&str; 18] = [
    "second", "seconds", "sec", "s", "minute", "minutes", "min", "m", "hour", "hours", "h", "day",
    "days", "d", "week", "month", "year", "request",
];

/// Checks all limits.
pub(super) fn check(configuration: &Configuration, errors: &mut ValidationErrors) {
    // The paths of the limits that apply together, by their content.
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for policy in &configuration.policies {
        if !configuration.applies_everywhere() {
            known.clear();
        }
        visit::of_policy(policy, &mut |path| {
            let limits = path.field("limits");
            for limit in &policy.limits {
                let path = limits.field(&limit.name);
                name(limit, &path, errors);
                reservation(limit, &path, errors);
                same(policy, limit, &path, &mut known, errors);
            }
        });
    }
}

fn name(limit: &Limit, path: &Path<'_>, errors: &mut ValidationErrors) {
    if limit.counters.is_empty()
        && let Some(word) = counted_word(&limit.name)
    {
        let notice = Notice::new(
            WarningCode::NoCounters,
            format!("is named as if each {word} had a limit of its own, and all requests share it"),
            "add \"counters\", such as `auth.identity.userid`, or give it another name",
        );
        errors.warn(path, notice);
    }
}

/// Returns the word for what a limit counts by its name, if it names that: `user` of `each-user` and `perUser`.
fn counted_word(name: &str) -> Option<String> {
    let mut words = vec![String::new()];
    for char in name.chars() {
        if !char.is_alphanumeric() || char.is_uppercase() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| char.is_alphanumeric()) {
            word.extend(char.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    let mut pairs = words.windows(2);
    pairs.find_map(|pair| match pair {
        [each, of] if EACH.contains(&each.as_str()) && !UNITS.contains(&of.as_str()) => {
            Some(of.clone())
        }
        _ => None,
    })
}

/// Checks that a slice is a small part of each limit.
pub(super) fn leases(configuration: &Configuration, errors: &mut ValidationErrors) {
    let Storage::Remote(Remote {
        lease: Some(lease), ..
    }) = &configuration.storage
    else {
        return;
    };
    let limits = || configuration.policies.iter().flat_map(|it| &it.limits);
    let smallest = |rates: fn(&Limit) -> &[Rate]| {
        let rates = limits().flat_map(rates);
        let fixed = rates.filter_map(|rate| match rate.limit {
            RateLimit::Fixed(limit) => Some(limit),
            RateLimit::Computed { .. } => None,
        });
        fixed.min()
    };
    for (field, amount, smallest) in [
        ("amount", lease.amount, smallest(|limit| &limit.rates)),
        (
            "requests",
            lease.requests,
            smallest(|limit| &limit.requests),
        ),
    ] {
        if let Some(smallest) = smallest.filter(|smallest| amount > smallest / LEASED_PART) {
            let notice = Notice::new(
                WarningCode::LargeLease,
                format!(
                    "is {amount}, and a worker leases at most a tenth of what is left of a limit, which is less for a \
                     limit of {smallest}"
                ),
                "write at most a tenth of the smallest limit, or leave it if larger limits are to use it",
            );
            let path = Path::Root.field("storage");
            errors.warn(&path.field("lease").field(field), notice);
        }
    }
}

/// Checks that a request reserves less than the limit.
fn reservation(limit: &Limit, path: &Path<'_>, errors: &mut ValidationErrors) {
    let Some(reservation) = &limit.reservation else {
        return;
    };
    let limits = limit.rates.iter().map(|rate| match rate.limit {
        RateLimit::Fixed(limit) => Some(limit),
        RateLimit::Computed { .. } => None,
    });
    let Some(largest) = limits
        .max_by_key(|limit| limit.unwrap_or(u64::MAX))
        .flatten()
    else {
        return;
    };
    let amount = reservation.amount.as_ref();
    let amount = amount.and_then(|amount| amount.source().trim().parse().ok());
    let path = path.field("reservation");
    for (field, tokens, consequence) in [
        ("amount", amount, "so each request is admitted alone"),
        ("max", reservation.max, "so it has no effect"),
    ] {
        if let Some(tokens) = tokens.filter(|tokens: &u64| *tokens > largest) {
            let notice = Notice::new(
                WarningCode::LargeReservation,
                format!("reserves up to {tokens} of a limit of {largest}, {consequence}"),
                "write a fraction of the limit",
            );
            errors.warn(&path.field(field), notice);
        }
    }
}

fn same(
    policy: &Policy,
    limit: &Limit,
    path: &Path<'_>,
    known: &mut BTreeMap<String, String>,
    errors: &mut ValidationErrors,
) {
    if limit.counts_nothing() {
        return;
    }
    let content = content(policy, limit);
    if let Some(first) = known.get(&content) {
        let notice = Notice::new(
            WarningCode::SameLimit,
            format!("is the same limit as {first}"),
            "remove one of them, or change what only one of them should be",
        );
        errors.warn(path, notice);
    } else {
        known.insert(content, path.to_string());
    }
}

/// Returns all that a limit does, as a text.
fn content(policy: &Policy, limit: &Limit) -> String {
    let sources = |expressions: &[Expression]| {
        let mut sources: Vec<&str> = expressions.iter().map(Expression::source).collect();
        sources.sort_unstable();
        format!("{sources:?}")
    };
    let Limit {
        name: _,
        when,
        counters,
        when_missing,
        cost,
        rates,
        requests,
        budgets,
        concurrency,
        alert_at,
        shadow,
        on_exceeded,
        cap,
        reply,
        reservation,
    } = limit;
    let rates = [rates, requests].map(|rates| rates.iter().map(rate).collect::<Vec<_>>());
    let budgets: Vec<_> = budgets
        .iter()
        .map(|budget| (budget.usd, budget.window.as_nanos(), budget.algorithm))
        .collect();
    let texts = [
        sources(&policy.when),
        sources(when),
        sources(counters),
        sources(cost.as_slice()),
    ];
    format!(
        "{texts:?} {when_missing:?} {rates:?} {budgets:?} {concurrency:?} {alert_at:?} {shadow} \
         {on_exceeded:?} {cap:?} {reply:?} {reservation:?}"
    )
}

/// Returns all that a rate does, as a text: `60s` and `1m` are the same window.
fn rate(rate: &Rate) -> String {
    let Rate {
        limit,
        window,
        algorithm,
    } = rate;
    match window {
        RateWindow::Fixed(window) => format!("{limit:?} {} {algorithm:?}", window.as_nanos()),
        RateWindow::Computed { .. } => format!("{limit:?} {window:?} {algorithm:?}"),
    }
}
