//! The quota of a caller at one rate: what quota headers are made of.

use super::labels::QuotaLabels;
use super::units;
use crate::ledger::Charge;
use crate::policies::{Policies, Rate};
use filter_config::{Limit, Policy};
use limits::{Nanos, Standing, Timestamp};

/// A rate of a limit that applies to an exchange, and how its counter stands.
#[derive(Clone, Copy)]
pub(super) struct Quota<'a> {
    pub(super) rate: &'a Rate,
    pub(super) policy: &'a Policy,
    pub(super) limit: &'a Limit,
    pub(super) labels: &'a QuotaLabels,
    /// The counter's identity and window.
    pub(super) counters: limits::Rate,
    pub(super) standing: &'a Standing,
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
            standing: &charge.counter.standing,
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

    /// Returns the unit.
    pub(super) fn unit(&self) -> &'static str {
        units::unit(self.rate.unit)
    }
}

/// Returns the quota with the least left.
pub(super) fn most_constrained<'a>(quotas: impl Iterator<Item = Quota<'a>>) -> Option<Quota<'a>> {
    quotas.min_by_key(|quota| quota.standing.remaining())
}
