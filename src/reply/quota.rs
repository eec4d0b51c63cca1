//! The quota of a caller at one rate: what quota headers are made of.

use super::labels::QuotaLabels;
use super::units;
use crate::ledger::Charge;
use crate::policies::{Policies, Rate, Unit};
use filter_config::{Limit, Policy};
use limits::{Nanos, Standing, Timestamp};

/// The shortest window whose limit is a quota rather than a rate.
const QUOTA_WINDOW: Nanos = Nanos::from_secs(24 * 3_600);

/// A rate of a limit that applies to an exchange, and how its counter stands.
#[derive(Clone, Copy)]
pub(super) struct Quota<'a> {
    pub(super) rate: &'a Rate,
    pub(super) policy: &'a Policy,
    pub(super) limit: &'a Limit,
    pub(super) labels: &'a QuotaLabels,
    /// The counter's identity and window.
    pub(super) counters: limits::Rate,
    pub(super) standing: Standing,
    /// What a request needs at least, if the limit is hard.
    pub(super) needed: Option<u64>,
    /// The time.
    pub(super) now: Timestamp,
}

// === impl Quota ===

impl<'a> Quota<'a> {
    /// Returns the quota of a charge.
    pub(super) fn new(
        policies: &'a Policies,
        labels: &'a [QuotaLabels],
        charge: &'a Charge,
        now: Timestamp,
    ) -> Option<Self> {
        let labels = labels.get(charge.rate.position())?;
        let (rate, policy, limit) = policies.rate_of(charge.rate)?;
        Some(Self {
            rate,
            policy,
            limit,
            labels,
            counters: charge.counter.rate,
            standing: charge.counter.standing,
            needed: charge.counter.is_hard.then_some(charge.counter.amount),
            now,
        })
    }

    /// Returns the time until the limit is unused or, of a rejection, until a request fits.
    pub(super) fn reset(&self) -> Nanos {
        self.standing.resets_at.since(self.now)
    }

    /// Returns the seconds of the window; `None` for requests in flight, which have none.
    pub(super) fn window(&self) -> Option<u64> {
        units::window(self.rate.unit, self.counters)
    }

    /// Returns whether it is an exhausted quota, for which it does not help to slow down: a budget, or a limit of a
    /// day or more.
    pub(super) fn is_exhausted(&self) -> bool {
        let is_quota = match self.rate.unit {
            Unit::Usd(_) => true,
            Unit::Tokens(_) | Unit::Requests(_) => self.counters.window().length >= QUOTA_WINDOW,
            Unit::InFlight => false,
        };
        is_quota && !self.standing.is_only_reserved()
    }

    /// Returns whether the limit is a prohibition: it is 0, so that waiting does not help.
    pub(super) const fn admits_nothing(&self) -> bool {
        self.standing.limit == 0
    }

    /// Returns whether a hard limit never has room for the request, which needs more than all of it.
    pub(super) fn never_fits(&self) -> bool {
        self.needed
            .is_some_and(|needed| needed > self.standing.limit)
    }

    /// Returns the unit.
    pub(super) fn unit(&self) -> &'static str {
        units::unit(self.rate.unit)
    }
}

/// Returns the quota with the least left.
pub(super) fn most_constrained<'a>(quotas: impl Iterator<Item = Quota<'a>>) -> Option<Quota<'a>> {
    quotas.min_by_key(|quota| quota.standing.remaining())
}

/// The names of headers for the limit, what remains of it, and its reset.
pub(super) type Names = [&'static str; 3];

/// Writes the headers of the quotas with the least left: under the first names that of those that count requests, under
/// the others that of those that count tokens or another cost.
pub(super) fn write_units(
    quotas: &[Quota<'_>],
    [requests, tokens]: [Names; 2],
    reset: fn(&Quota<'_>) -> String,
    add: &mut dyn FnMut(&str, &[u8]),
) {
    for (names, counts_requests) in [(requests, true), (tokens, false)] {
        let quotas = quotas.iter().copied().filter(|quota| {
            let unit = quota.rate.unit;
            matches!(unit, Unit::Requests(_) | Unit::InFlight) == counts_requests
        });
        let Some(quota) = most_constrained(quotas) else {
            continue;
        };
        let values = [quota.standing.limit, quota.standing.remaining()];
        for (name, value) in names.into_iter().zip(values) {
            add(name, itoa::Buffer::new().format(value).as_bytes());
        }
        let [.., name] = names;
        add(name, reset(&quota).as_bytes());
    }
}
