//! The rates in force: all of a configuration's, flat, each with what tells its counters from others.

use super::KeyHasher;
use filter_config::{Configuration, Exceeded, Limit, Policy, RateLimit, RateWindow};
use limits::{Algorithm, Nanos, Window};
use siphasher::sip128::SipHasher13;
use std::ops::Range;

/// All of a limit, in millionths.
const ALL: u32 = 1_000_000;

/// A rate in force.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Index of the policy in the configuration.
    pub policy: usize,
    /// Index of the limit in the policy.
    pub limit: usize,
    /// What it counts.
    pub counts: Counts,
    /// The most that there may be of it: tokens, requests or billionths of a dollar in a window, or
    /// requests at once; where it is computed for a request, the most that it can be.
    pub max: u64,
    /// Whether the limit or the window is computed for each request.
    pub is_computed: bool,
    /// The part of the limit past which its use is told, in millionths.
    pub alert_at: Option<u32>,
    /// How its counters are kept; where the window is computed, with the longest there is.
    pub counted: limits::Rate,
}

/// What a rate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// What exchanges cost, in the window of the limit's rate of this index. Tokens, unless the limit has
    /// a cost of its own.
    Tokens(usize),
    /// Requests, in the window of the one of `requests` of this index.
    Requests(usize),
    /// Billionths of a dollar, in the window of the limit's budget of this index.
    Usd(usize),
    /// Requests in flight.
    InFlight,
}

// === impl Counts ===

impl Counts {
    /// What is counted, in words.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Tokens(_) => "tokens",
            Self::Requests(_) => "requests",
            Self::Usd(_) => "USD",
            Self::InFlight => "requests at once",
        }
    }
}

// === impl Rate ===

impl Rate {
    /// What is used of a limit past which it is told; the largest number for never.
    #[must_use]
    pub fn alert_past(&self, limit: u64) -> u64 {
        match self.alert_at {
            Some(millionths) => {
                let part = u128::from(limit).saturating_mul(millionths.into()) / 1_000_000;
                u64::try_from(part).unwrap_or(u64::MAX).max(1)
            }
            None => u64::MAX,
        }
    }

    /// The rate of the configuration that this one is of, if it is one of tokens or requests.
    #[must_use]
    pub fn of<'a>(&self, limit: &'a Limit) -> Option<&'a filter_config::Rate> {
        match self.counts {
            Counts::Tokens(index) => limit.rates.get(index),
            Counts::Requests(index) => limit.requests.get(index),
            Counts::Usd(_) | Counts::InFlight => None,
        }
    }

    /// The path to the rate, below its limit.
    #[must_use]
    pub fn place(&self) -> String {
        match self.counts {
            Counts::Tokens(index) => format!("rates[{index}]"),
            Counts::Requests(index) => format!("requests[{index}]"),
            Counts::Usd(index) => format!("budgets[{index}]"),
            Counts::InFlight => "concurrency".to_owned(),
        }
    }
}

/// The rates of each limit, which follow each other, by policy and limit: their indices among those of
/// the configuration.
pub(super) fn of_limits(configuration: &Configuration) -> Vec<Vec<Range<usize>>> {
    let mut rates = 0..0_usize;
    let mut next = |limit: &Limit| {
        let number = [
            limit.rates.len(),
            limit.requests.len(),
            limit.budgets.len(),
            limit.concurrency.iter().len(),
        ];
        let number = number.into_iter().fold(0, usize::saturating_add);
        rates = rates.end..rates.end.saturating_add(number);
        rates.clone()
    };
    let policies = configuration.policies.iter();
    policies
        .map(|policy| policy.limits.iter().map(&mut next).collect())
        .collect()
}

/// The rates of a configuration, in its order.
pub(super) fn of(configuration: &Configuration) -> Vec<Rate> {
    let mut rates = Vec::new();
    for (policy_index, policy) in configuration.policies.iter().enumerate() {
        for (limit_index, limit) in policy.limits.iter().enumerate() {
            let mut add = |counts, max, is_computed, window: Named<'_>| {
                // Where requests go on all the same, it is told at the latest when nothing is left.
                let allows = limit.on_exceeded == Exceeded::Allow;
                let alert_at = limit.alert_at.or(allows.then_some(ALL));
                let alert_at = (counts != Counts::InFlight).then_some(alert_at);
                rates.push(Rate {
                    policy: policy_index,
                    limit: limit_index,
                    counts,
                    max,
                    is_computed,
                    alert_at: alert_at.flatten(),
                    counted: window.counted(policy, limit),
                });
            };
            let tokens = limit.rates.iter().enumerate();
            for (index, rate) in tokens {
                let (max, is_computed) = max(rate);
                add(Counts::Tokens(index), max, is_computed, Named::of("", rate));
            }
            let requests = limit.requests.iter().enumerate();
            for (index, rate) in requests {
                let (max, is_computed) = max(rate);
                add(
                    Counts::Requests(index),
                    max,
                    is_computed,
                    Named::of("requests ", rate),
                );
            }
            for (index, budget) in limit.budgets.iter().enumerate() {
                let (algorithm, name) = algorithm(budget.algorithm);
                let length = Nanos::new(budget.window.as_nanos());
                let window = Named {
                    window: Window { algorithm, length },
                    name: format!("usd {name}"),
                    expression: None,
                };
                add(Counts::Usd(index), budget.usd.0, false, window);
            }
            if let Some(most) = limit.concurrency {
                // Nothing is ever used of it, only held: the window does not matter.
                let window = Named {
                    window: Window {
                        algorithm: Algorithm::Fixed,
                        length: Nanos::new(1),
                    },
                    name: "concurrency".to_owned(),
                    expression: None,
                };
                add(Counts::InFlight, most, false, window);
            }
        }
    }
    rates
}

/// The most that a rate can allow, and whether it differs between requests.
fn max(rate: &filter_config::Rate) -> (u64, bool) {
    let is_computed = matches!(rate.window, RateWindow::Computed { .. });
    match &rate.limit {
        RateLimit::Fixed(limit) => (*limit, is_computed),
        RateLimit::Computed { max, .. } => (*max, true),
    }
}

/// A window, and what it is called among those of its limit.
struct Named<'a> {
    window: Window,
    name: String,
    /// The text of the expression that the window's length is computed by.
    expression: Option<&'a str>,
}

impl<'a> Named<'a> {
    fn of(what: &str, rate: &'a filter_config::Rate) -> Self {
        let (algorithm, name) = algorithm(rate.algorithm);
        let (length, expression) = match &rate.window {
            RateWindow::Fixed(window) => (window.as_nanos(), None),
            RateWindow::Computed { expression, .. } => (
                filter_config::bounds::WINDOW_NANOS,
                Some(expression.source()),
            ),
        };
        Self {
            window: Window {
                algorithm,
                length: Nanos::new(length),
            },
            name: format!("{what}{name}"),
            expression,
        }
    }

    /// What a counter is a counter of: with another policy, limit, counter expression, algorithm or
    /// window it starts anew; with another limit's value, or another `when`, it goes on. So it does
    /// with another value of a window's expression: no caller gets a new counter by another window.
    fn counted(&self, policy: &Policy, limit: &Limit) -> limits::Rate {
        let mut hasher = KeyHasher(SipHasher13::new());
        hasher.value(policy.name.as_bytes());
        hasher.value(limit.name.as_bytes());
        for counter in &limit.counters {
            hasher.value(counter.source().as_bytes());
        }
        hasher.value(self.name.as_bytes());
        match self.expression {
            Some(expression) => hasher.value(expression.as_bytes()),
            None => hasher.value(&self.window.length.as_u64().to_le_bytes()),
        }
        limits::Rate::new(hasher.finish(), self.window)
    }
}

/// An algorithm as the storage knows it, and its name.
fn algorithm(algorithm: filter_config::Algorithm) -> (Algorithm, &'static str) {
    match algorithm {
        filter_config::Algorithm::Fixed => (Algorithm::Fixed, "fixed"),
        filter_config::Algorithm::Calendar => (Algorithm::Calendar, "calendar"),
        filter_config::Algorithm::Sliding => (Algorithm::Sliding, "sliding"),
        filter_config::Algorithm::Bucket => (Algorithm::Bucket, "bucket"),
    }
}
