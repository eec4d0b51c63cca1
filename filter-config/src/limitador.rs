//! The limits of policies in limitador's format, as Kuadrant's operator writes them.

use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use crate::configuration::Configuration;
use crate::descriptor::{self, Counted};
use crate::limit::Limit;
use crate::policy::Policy;
use crate::rate::{Algorithm, Rate, RateLimit, RateWindow};
use crate::storage::Storage;
use crate::window::Window;

/// An entry of limitador's `limits.yaml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitadorLimit {
    /// The name of the limit, which need not be unique.
    pub name: String,
    /// The domain of the requests that it applies to.
    pub namespace: String,
    /// The limit: the most in a window.
    pub max_value: u64,
    /// The length of the window in seconds. It begins with the first hit.
    pub seconds: u64,
    /// Expressions over `descriptors` that have to be true.
    pub conditions: Vec<String>,
    /// Expressions over `descriptors` whose values together are the key of the counter.
    pub variables: Vec<String>,
}

/// A part of a limit that limitador does not support.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{policy}: limits.{limit}.{part}: not supported by limitador, expected {expected}")]
pub struct Unsupported {
    /// The policy's `namespace/name`.
    pub policy: String,
    /// The name of the limit.
    pub limit: String,
    /// The part, such as `rates[0]`.
    pub part: String,
    /// What limitador supports.
    pub expected: &'static str,
}

/// Returns the limits of all policies, one per rate and budget, in the order of the configuration. Budgets are in
/// billionths of a US dollar.
///
/// Their namespace is `domain`, by default the domain of the configuration's storage, or else [`Policy::domain`].
/// Concurrency limits are counted in Envoy and are not included.
///
/// # Errors
///
/// Everything that limitador does not support.
pub fn limits(
    configuration: &Configuration,
    domain: Option<&str>,
) -> Result<Vec<LimitadorLimit>, Vec<Unsupported>> {
    let domain = domain.or(match &configuration.storage {
        Storage::Remote(remote) => remote.domain.as_deref(),
        Storage::Local { .. } => None,
    });
    let mut limits = Vec::new();
    let mut unsupported = Vec::new();
    for policy in &configuration.policies {
        let namespace = domain.map_or_else(|| policy.domain(), str::to_owned);
        for limit in &policy.limits {
            let mut is_unsupported = |part: String, expected| {
                unsupported.push(Unsupported {
                    policy: policy.name.clone(),
                    limit: limit.name.clone(),
                    part,
                    expected,
                });
            };
            let rates = [
                ("rates", Counted::Tokens, &limit.rates),
                ("requests", Counted::Requests, &limit.requests),
            ];
            for (part, counted, rates) in rates {
                for (position, rate) in rates.iter().enumerate() {
                    match in_numbers(rate) {
                        Ok(rate) => limits.push(entry(policy, limit, counted, rate, &namespace)),
                        Err(expected) => is_unsupported(format!("{part}[{position}]"), expected),
                    }
                }
            }
            for (position, budget) in limit.budgets.iter().enumerate() {
                match in_seconds(budget.algorithm, &budget.window) {
                    Ok(seconds) => {
                        let rate = (budget.usd.0, seconds);
                        limits.push(entry(policy, limit, Counted::Usd, rate, &namespace));
                    }
                    Err(expected) => is_unsupported(format!("budgets[{position}]"), expected),
                }
            }
        }
    }
    if unsupported.is_empty() {
        Ok(limits)
    } else {
        Err(unsupported)
    }
}

fn entry(
    policy: &Policy,
    limit: &Limit,
    counted: Counted,
    (max_value, seconds): (u64, u64),
    namespace: &str,
) -> LimitadorLimit {
    let key = descriptor::limit_key(counted, &policy.name, &limit.name);
    let variables = limit.counters.iter();
    LimitadorLimit {
        name: limit.name.clone(),
        namespace: namespace.to_owned(),
        max_value,
        seconds,
        conditions: vec![format!("{} == \"1\"", value_of(&key))],
        variables: variables
            .map(|expression| value_of(expression.source()))
            .collect(),
    }
}

/// Returns the expression for the value of an entry of the descriptor. CEL has all escapes of JSON strings.
fn value_of(key: &str) -> String {
    format!("descriptors[0][{}]", Value::from(key))
}

/// Returns the limit and the length of the window in seconds, or what limitador supports instead.
fn in_numbers(rate: &Rate) -> Result<(u64, u64), &'static str> {
    let RateLimit::Fixed(limit) = rate.limit else {
        return Err("a number as the limit");
    };
    let RateWindow::Fixed(window) = &rate.window else {
        return Err("a duration as the window");
    };
    Ok((limit, in_seconds(rate.algorithm, window)?))
}

/// Returns the length of a window in seconds, or what limitador supports instead.
fn in_seconds(algorithm: Algorithm, window: &Window) -> Result<u64, &'static str> {
    const SECOND: u64 = 1_000_000_000;
    if algorithm != Algorithm::Fixed {
        return Err("the algorithm \"fixed\"");
    }
    let nanos = window.as_nanos();
    if !nanos.is_multiple_of(SECOND) {
        return Err("a window of whole seconds");
    }
    Ok(nanos / SECOND)
}

#[cfg(test)]
mod tests;
