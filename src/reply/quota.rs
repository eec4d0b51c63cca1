//! A rate as a caller finds it: what its quota headers are made of.

use super::named::Names;
use crate::plugin::{Charge, Counts, Plugin, Rate};
use filter_config::{Configuration, Limit, Policy, QuotaHeaders, RateWindow};
use limits::Standing;

/// Nanoseconds in a second.
pub(super) const SECOND: u64 = 1_000_000_000;

/// What is said of a rate with every request, made ready with the configuration.
#[derive(Debug)]
pub struct Prepared {
    /// The limit's name as a string of a structured field (RFC 8941), with its quotes.
    pub(super) name: String,
    /// A name that no other rate has: that of the limit, with what tells it apart where there is
    /// need, as a string of a structured field.
    pub(super) key: String,
    /// The names of its headers, where the configuration has templates of them.
    pub(super) names: Option<Names>,
}

/// A rate of a limit that applies to an exchange, and how its counter stands.
#[derive(Clone, Copy)]
pub(super) struct Quota<'a> {
    pub(super) rate: &'a Rate,
    pub(super) policy: &'a Policy,
    pub(super) limit: &'a Limit,
    pub(super) prepared: &'a Prepared,
    /// How its counter is kept.
    pub(super) counted: limits::Rate,
    pub(super) standing: &'a Standing,
    /// The time, in nanoseconds since the epoch.
    pub(super) now: u64,
}

// === impl Prepared ===

impl Prepared {
    /// What is said of each of the rates of a configuration.
    #[must_use]
    #[cold]
    pub fn of(configuration: &Configuration, rates: &[Rate]) -> Vec<Self> {
        let policies = &configuration.policies;
        let names = || policies.iter().flat_map(|policy| &policy.limits);
        let mut prepared: Vec<Self> = Vec::with_capacity(rates.len());
        for of_limit in rates.chunk_by(|a, b| (a.policy, a.limit) == (b.policy, b.limit)) {
            let limit = of_limit.first().and_then(|rate| {
                let policy = policies.get(rate.policy)?;
                Some((policy, policy.limits.get(rate.limit)?))
            });
            let Some((policy, limit)) = limit else {
                continue;
            };
            let mut key = limit.name.clone();
            if names().filter(|other| other.name == limit.name).count() > 1 {
                key = [&policy.name, "/", &limit.name].concat();
            }
            prepared.extend(of_limit.iter().map(|rate| {
                let key = if of_limit.len() > 1 {
                    quoted(&[&key, "/", &apart(rate, limit)].concat())
                } else {
                    quoted(&key)
                };
                let names = match &configuration.replies.headers {
                    Some(QuotaHeaders::Named(names)) => {
                        Some(Names::new(names, rate, policy, limit))
                    }
                    _ => None,
                };
                Self {
                    name: quoted(&limit.name),
                    key,
                    names,
                }
            }));
        }
        prepared
    }
}

// === impl Quota ===

impl<'a> Quota<'a> {
    /// The rate of a charge.
    pub(super) fn new(
        plugin: &'a Plugin,
        charge: &Charge,
        standing: &'a Standing,
        now: u64,
    ) -> Option<Self> {
        let prepared = plugin.prepared.get(charge.rate)?;
        let rate = plugin.rates.get(charge.rate)?;
        let (policy, limit) = plugin.limit_of(rate)?;
        Some(Self {
            rate,
            policy,
            limit,
            prepared,
            counted: charge.counted,
            standing,
            now,
        })
    }

    /// Nanoseconds until the limit is unused or, where it refused, until a request fits.
    pub(super) fn reset(&self) -> u64 {
        self.standing.resets_at.as_u64().saturating_sub(self.now)
    }

    /// Seconds of the window; `None` where there is none, as requests in flight have none.
    pub(super) fn window(&self) -> Option<u64> {
        window(self.rate.counts, self.counted)
    }

    /// What is counted.
    pub(super) fn unit(&self) -> &'static str {
        unit(self.rate.counts)
    }
}

/// The one of several with the least left.
pub(super) fn most_constrained<'a>(quotas: impl Iterator<Item = Quota<'a>>) -> Option<Quota<'a>> {
    quotas.min_by_key(|quota| quota.standing.remaining())
}

/// What a rate counts, as quota units are called.
pub(super) const fn unit(counts: Counts) -> &'static str {
    match counts {
        Counts::Tokens(_) => "tokens",
        Counts::Requests(_) => "requests",
        Counts::Usd(_) => "usd",
        Counts::InFlight => "concurrent-requests",
    }
}

/// Seconds of a window, of those that have one.
pub(super) fn window(counts: Counts, counted: limits::Rate) -> Option<u64> {
    (counts != Counts::InFlight).then(|| seconds(counted.window().length.as_u64()))
}

/// A rate's window as the policy writes it, if it has one that is the same for all requests.
pub(super) fn written<'a>(rate: &Rate, limit: &'a Limit) -> Option<&'a str> {
    let window = match (rate.counts, rate.of(limit).map(|rate| &rate.window)) {
        (Counts::Usd(index), _) => &limit.budgets.get(index)?.window,
        (_, Some(RateWindow::Fixed(window))) => window,
        _ => return None,
    };
    Some(window.as_str())
}

/// What tells a rate from the others of its limit.
fn apart(rate: &Rate, limit: &Limit) -> String {
    let window = written(rate, limit).map_or_else(|| rate.place(), str::to_owned);
    match rate.counts {
        Counts::Tokens(_) => window,
        Counts::InFlight => unit(rate.counts).to_owned(),
        _ => [unit(rate.counts), "/", &window].concat(),
    }
}

/// Whole seconds, rounded up.
pub(super) const fn seconds(nanoseconds: u64) -> u64 {
    nanoseconds.div_ceil(SECOND)
}

/// Adds a number to a text.
pub(super) fn push(text: &mut String, number: u64) {
    text.push_str(itoa::Buffer::new().format(number));
}

/// A text as a string of a structured field (RFC 8941, section 3.3.3), without what such a string
/// cannot have.
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
