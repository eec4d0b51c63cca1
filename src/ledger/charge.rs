//! One counter of one exchange.

use crate::policies::{RateIndex, Unit};
use limits::{Charged, Nanos, Reservation, Timestamp};

/// A counter: a rate, and the hash of the values that its limit counts by.
pub(crate) type CounterId = (RateIndex, u128);

/// One counter that an exchange is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    /// The rate.
    pub(crate) rate: RateIndex,
    /// What the rate counts.
    pub(crate) unit: Unit,
    /// Whether its limit rejects, or does what its `onExceeded` says. The others only count and report:
    /// dry runs, and `onExceeded: allow`.
    pub(crate) is_enforced: bool,
    /// How long its reservation lives if it is never settled.
    pub(crate) ttl: Nanos,
    /// What the exchange reserves there, how the counter stands, and what was charged.
    pub(crate) counter: Reservation,
}

/// When an exchange is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its usage is known, but may turn out to be another at its end.
    Early,
    /// It has ended.
    End,
}

/// The rejection of a request by a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// The counter that has no room, with its standing.
    pub(crate) charge: Charge,
    /// When the request was rejected.
    pub(crate) now: Timestamp,
}

/// Returns the charge to a counter.
pub(super) fn find(charges: &[Charge], counter: CounterId) -> Option<&Charge> {
    charges.iter().find(|charge| charge.id() == counter)
}

/// Returns how long the reservations of an exchange live that are never settled: the longest of all.
pub(super) fn ttl(charges: &[Charge]) -> Nanos {
    let ttls = charges.iter().map(|charge| charge.ttl);
    ttls.max().unwrap_or(Charge::DEFAULT_TTL)
}

// === impl Charge ===

impl Charge {
    /// How long a reservation lives that is never settled or released, where the limit has no `ttl`: the
    /// longest exchange that is expected.
    pub(crate) const DEFAULT_TTL: Nanos = Nanos::from_secs(600);

    /// Returns the counter.
    #[must_use]
    pub(crate) const fn id(&self) -> CounterId {
        (self.rate, self.counter.key)
    }

    /// Returns whether it counts what a rate limit service counts. Requests in flight are counted by this
    /// Envoy alone.
    #[must_use]
    pub(super) fn is_counted_by_service(&self) -> bool {
        self.unit != Unit::InFlight
    }

    /// Returns whether its cost is to be recorded at a stage: unless it was before, or is the exchange
    /// itself, which is in flight until it ends.
    pub(super) fn is_due(&self, stage: Stage) -> bool {
        let counter = &self.counter;
        let is_recorded = |charged: Charged| charged.cost() == counter.cost;
        !counter.charged.is_some_and(is_recorded)
            && (stage == Stage::End || self.unit != Unit::InFlight)
    }

    /// Returns whether it can be deferred until usage is reported: it counts tokens or money.
    pub(crate) const fn can_be_deferred(&self) -> bool {
        matches!(self.unit, Unit::Tokens(_) | Unit::Usd(_))
    }

    /// Returns whether it counts requests.
    #[must_use]
    pub(crate) const fn counts_requests(&self) -> bool {
        matches!(self.unit, Unit::Requests(_))
    }

    /// Returns whether the counter has room for the request by this Envoy's own count, as it stood when the
    /// request came: a request without others beside it is admitted while anything is left.
    #[must_use]
    pub(super) fn fits(&self) -> bool {
        let Reservation {
            limit,
            amount,
            standing,
            ..
        } = self.counter;
        let taken = standing.used.saturating_add(standing.reserved);
        let with_it = taken.saturating_add(amount);
        taken < limit && (standing.reserved == 0 || with_it <= limit)
    }
}

impl AsRef<Reservation> for Charge {
    fn as_ref(&self) -> &Reservation {
        &self.counter
    }
}

impl AsMut<Reservation> for Charge {
    fn as_mut(&mut self) -> &mut Reservation {
        &mut self.counter
    }
}
