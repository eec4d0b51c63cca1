//! The limits of policies as limitador reads them: what Kuadrant's operator would make of them.

use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use crate::descriptor::{self, Counted};
use crate::{
    Algorithm, Configuration, Limit, Policy, Rate, RateLimit, RateWindow, Storage, Window,
};

/// An entry of limitador's `limits.yaml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitadorLimit {
    /// The name of the limit. It tells no limits apart.
    pub name: String,
    /// The domain of requests that it holds for.
    pub namespace: String,
    /// The most in a window.
    pub max_value: u64,
    /// The length of a window, which begins with the first hit.
    pub seconds: u64,
    /// Expressions over `descriptors` that have to hold.
    pub conditions: Vec<String>,
    /// Expressions over `descriptors` whose values together are the key that is counted under.
    pub variables: Vec<String>,
}

/// A part of a limit that limitador has not the means for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{policy}: limits.{limit}.{part}: limitador cannot enforce it: {reason}")]
pub struct NotForLimitador {
    /// The policy's `namespace/name`.
    pub policy: String,
    /// The name of the limit.
    pub limit: String,
    /// The part, such as `rates[0]`.
    pub part: String,
    /// What limitador lacks.
    pub reason: &'static str,
}

/// The limits of all policies, one for each rate and budget, in the order of the configuration. Budgets
/// are in billionths of a dollar.
///
/// Their namespace is `domain`; where there is none, the one that the configuration's storage asks with;
/// where it names none, that of [`Policy::domain`]. Limits on concurrency are counted in Envoy, and are not
/// among them.
///
/// # Errors
///
/// Everything that limitador cannot enforce.
pub fn limits(
    configuration: &Configuration,
    domain: Option<&str>,
) -> Result<Vec<LimitadorLimit>, Vec<NotForLimitador>> {
    let domain = domain.or(match &configuration.storage {
        Storage::Remote(remote) => remote.domain.as_deref(),
        Storage::Local { .. } => None,
    });
    let mut limits = Vec::new();
    let mut unfit = Vec::new();
    for policy in &configuration.policies {
        let namespace = domain.map_or_else(|| policy.domain(), str::to_owned);
        for limit in &policy.limits {
            let mut is_unfit = |part: String, reason| {
                unfit.push(NotForLimitador {
                    policy: policy.name.clone(),
                    limit: limit.name.clone(),
                    part,
                    reason,
                });
            };
            let rates = [
                ("rates", Counted::Tokens, &limit.rates),
                ("requests", Counted::Requests, &limit.requests),
            ];
            for (part, counted, rates) in rates {
                for (position, rate) in rates.iter().enumerate() {
                    match in_numbers(rate) {
                        Ok(most) => limits.push(entry(policy, limit, counted, most, &namespace)),
                        Err(reason) => is_unfit(format!("{part}[{position}]"), reason),
                    }
                }
            }
            for (position, budget) in limit.budgets.iter().enumerate() {
                match in_seconds(budget.algorithm, &budget.window) {
                    Ok(seconds) => {
                        let most = (budget.usd.0, seconds);
                        limits.push(entry(policy, limit, Counted::Usd, most, &namespace));
                    }
                    Err(reason) => is_unfit(format!("budgets[{position}]"), reason),
                }
            }
        }
    }
    if unfit.is_empty() {
        Ok(limits)
    } else {
        Err(unfit)
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

/// The expression for the value of an entry of the descriptor. The escapes of a string in JSON are some of CEL's.
fn value_of(key: &str) -> String {
    format!("descriptors[0][{}]", Value::from(key))
}

/// The most in a window and its length in seconds, or what limitador lacks.
fn in_numbers(rate: &Rate) -> Result<(u64, u64), &'static str> {
    let RateLimit::Fixed(most) = rate.limit else {
        return Err("its limits are numbers that it is given");
    };
    let RateWindow::Fixed(window) = &rate.window else {
        return Err("its windows are those that it is given");
    };
    Ok((most, in_seconds(rate.algorithm, window)?))
}

/// The length of a window in seconds, or what limitador lacks.
fn in_seconds(algorithm: Algorithm, window: &Window) -> Result<u64, &'static str> {
    const SECOND: u64 = 1_000_000_000;
    if algorithm != Algorithm::Fixed {
        return Err("its windows are fixed");
    }
    let nanos = window.as_nanos();
    if !nanos.is_multiple_of(SECOND) {
        return Err("its windows are of whole seconds");
    }
    Ok(nanos / SECOND)
}

#[cfg(test)]
mod tests;
