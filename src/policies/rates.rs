//! The rates in force: those of all limits in one list, each with the identity of its counters.

use super::key::KeyHasher;
use filter_config::{
    Configuration, Exceeded, Limit, LimitIndex, Policy, RateLimit, RateWindow, Usd,
};
use limits::{Algorithm, Nanos, Window};
use std::ops::Range;

/// The whole of a limit, in millionths.
const WHOLE: u32 = 1_000_000;

/// The position of a rate among all rates of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RateIndex(usize);

/// A rate in force.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// The limit that it belongs to.
    pub(crate) limit: LimitIndex,
    /// What it counts.
    pub(crate) unit: Unit,
    /// The limit's value in its unit; where it is computed for each request, the highest possible.
    pub(crate) max: u64,
    /// Whether the value or the window is computed for each request.
    pub(crate) is_computed: bool,
    /// The part of the limit beyond which its use raises an alert, in millionths.
    pub(crate) alert_at: Option<u32>,
    /// The identity and window of its counters; where the window is computed, the longest possible.
    pub(crate) counters: limits::Rate,
}

/// What a rate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// The cost of exchanges in the window of this index in the limit's `rates`: tokens, unless the
    /// limit has a cost of its own.
    Tokens(usize),
    /// Requests, in the window of this index in the limit's `requests`.
    Requests(usize),
    /// Billionths of a dollar, in the window of this index in the limit's `budgets`.
    Usd(usize),
    /// Requests in flight.
    InFlight,
}

// === impl RateIndex ===

impl RateIndex {
    /// Returns the rate at a position.
    #[must_use]
    pub(crate) const fn new(position: usize) -> Self {
        Self(position)
    }

    /// Returns the position.
    #[must_use]
    pub(crate) const fn position(self) -> usize {
        self.0
    }
}

// === impl Unit ===

impl Unit {
    /// Returns the unit in words, as log lines have it.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tokens(_) => "tokens",
            Self::Requests(_) => "requests",
            Self::Usd(_) => "USD",
            Self::InFlight => "concurrent requests",
        }
    }

    /// Returns an amount as text: dollars for money.
    #[must_use]
    pub(crate) fn amount(self, amount: u64) -> String {
        let mut text = String::new();
        self.push_amount(&mut text, amount);
        text
    }

    /// Appends an amount to a text: dollars for money.
    pub(crate) fn push_amount(self, text: &mut String, amount: u64) {
        match self {
            Self::Usd(_) => text.push_str(&Usd(amount).to_string()),
            _ => text.push_str(itoa::Buffer::new().format(amount)),
        }
    }
}

// === impl Rate ===

impl Rate {
    /// Returns the use of a limit from which on an alert is raised; `u64::MAX` for never.
    #[must_use]
    pub(crate) fn alert_threshold(&self, limit: u64) -> u64 {
        match self.alert_at {
            Some(millionths) => {
                let part = u128::from(limit).saturating_mul(millionths.into()) / 1_000_000;
                u64::try_from(part).unwrap_or(u64::MAX).max(1)
            }
            None => u64::MAX,
        }
    }

    /// Returns the rate of the configuration, if it is one of `rates` or `requests`.
    #[must_use]
    pub(crate) fn configured<'a>(&self, limit: &'a Limit) -> Option<&'a filter_config::Rate> {
        match self.unit {
            Unit::Tokens(index) => limit.rates.get(index),
            Unit::Requests(index) => limit.requests.get(index),
            Unit::Usd(_) | Unit::InFlight => None,
        }
    }

    /// Returns the window as the policy writes it, unless it is computed for each request.
    #[must_use]
    pub(crate) fn written_window<'a>(&self, limit: &'a Limit) -> Option<&'a str> {
        let window = match (self.unit, self.configured(limit).map(|rate| &rate.window)) {
            (Unit::Usd(index), _) => &limit.budgets.get(index)?.window,
            (_, Some(RateWindow::Fixed(window))) => window,
            _ => return None,
        };
        Some(window.as_str())
    }

    /// Returns the path to the rate, below its limit.
    #[must_use]
    pub(crate) fn path(&self) -> String {
        match self.unit {
            Unit::Tokens(index) => format!("rates[{index}]"),
            Unit::Requests(index) => format!("requests[{index}]"),
            Unit::Usd(index) => format!("budgets[{index}]"),
            Unit::InFlight => "concurrency".to_owned(),
        }
    }
}

/// Returns the positions of each limit's rates, which are adjacent, by policy and limit.
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

/// Returns the rates of a configuration, in its order.
pub(super) fn of_configuration(configuration: &Configuration) -> Vec<Rate> {
    let mut rates = Vec::new();
    for (policy_index, policy) in configuration.policies.iter().enumerate() {
        for (limit_index, limit) in policy.limits.iter().enumerate() {
            let mut add = |unit, max, is_computed, window: NamedWindow<'_>| {
                // A limit that only reports raises an alert at the latest when it is exhausted.
                let is_report_only = limit.on_exceeded == Exceeded::Allow;
                let alert_at = limit.alert_at.or(is_report_only.then_some(WHOLE));
                let alert_at = (unit != Unit::InFlight).then_some(alert_at);
                rates.push(Rate {
                    limit: LimitIndex {
                        policy: policy_index,
                        limit: limit_index,
                    },
                    unit,
                    max,
                    is_computed,
                    alert_at: alert_at.flatten(),
                    counters: window.counters(policy, limit),
                });
            };
            for (index, rate) in limit.rates.iter().enumerate() {
                let (max, is_computed) = max(rate);
                let window = NamedWindow::of_rate("", rate);
                add(Unit::Tokens(index), max, is_computed, window);
            }
            for (index, rate) in limit.requests.iter().enumerate() {
                let (max, is_computed) = max(rate);
                let window = NamedWindow::of_rate("requests ", rate);
                add(Unit::Requests(index), max, is_computed, window);
            }
            for (index, budget) in limit.budgets.iter().enumerate() {
                let (algorithm, name) = algorithm(budget.algorithm);
                let length = Nanos::new(budget.window.as_nanos());
                let window = NamedWindow {
                    window: Window { algorithm, length },
                    name: format!("usd {name}"),
                    expression: None,
                };
                add(Unit::Usd(index), budget.usd.0, false, window);
            }
            if let Some(max) = limit.concurrency {
                // Its counters only reserve, and never use anything: the window does not matter.
                let window = NamedWindow {
                    window: Window {
                        algorithm: Algorithm::Fixed,
                        length: Nanos::new(1),
                    },
                    name: "concurrency".to_owned(),
                    expression: None,
                };
                add(Unit::InFlight, max, false, window);
            }
        }
    }
    rates
}

/// Returns the highest value of a rate, and whether the rate is computed for each request.
fn max(rate: &filter_config::Rate) -> (u64, bool) {
    let is_computed = matches!(rate.window, RateWindow::Computed { .. });
    match &rate.limit {
        RateLimit::Fixed(limit) => (*limit, is_computed),
        RateLimit::Computed { max, .. } => (*max, true),
    }
}

/// A window, with what distinguishes it from the others of its limit.
struct NamedWindow<'a> {
    window: Window,
    name: String,
    /// The source of the expression that computes the window.
    expression: Option<&'a str>,
}

impl<'a> NamedWindow<'a> {
    fn of_rate(kind: &str, rate: &'a filter_config::Rate) -> Self {
        let (algorithm, name) = algorithm(rate.algorithm);
        let (length, expression) = match &rate.window {
            RateWindow::Fixed(window) => (window.as_nanos(), None),
            RateWindow::Computed { expression, .. } => (
                filter_config::bounds::WINDOW_NANOS,
                Some(expression.source()),
            ),
        };
        let length = Nanos::new(length);
        Self {
            window: Window { algorithm, length },
            name: format!("{kind}{name}"),
            expression,
        }
    }

    /// Returns the identity of the rate's counters. With another policy, limit, counter expression,
    /// algorithm or window they start over; with another limit value, or another `when`, they continue.
    /// So they do with another value of a computed window: no caller gets a new counter by changing
    /// its window.
    fn counters(&self, policy: &Policy, limit: &Limit) -> limits::Rate {
        let mut hasher = KeyHasher::unkeyed();
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

/// Returns an algorithm as `limits` has it, and its name.
fn algorithm(algorithm: filter_config::Algorithm) -> (Algorithm, &'static str) {
    match algorithm {
        filter_config::Algorithm::Fixed => (Algorithm::Fixed, "fixed"),
        filter_config::Algorithm::Calendar => (Algorithm::Calendar, "calendar"),
        filter_config::Algorithm::Sliding => (Algorithm::Sliding, "sliding"),
        filter_config::Algorithm::Bucket => (Algorithm::Bucket, "bucket"),
    }
}
