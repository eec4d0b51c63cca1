//! The authority of this Envoy's own count beside that of a rate limit service.

use super::charge::{Charge, CounterId, Rejection};
use super::store::Ledger;
use limits::{StoreError, Timestamp};

/// Which requests this Envoy's own count rejects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Authority {
    /// All that it would reject without a service.
    Full,
    /// Those that do not fit beside other requests in flight; none that has no others beside it.
    Concurrent,
    /// None.
    None,
}

// === impl Ledger ===

impl Ledger {
    /// Reserves in this Envoy's own count.
    pub(super) fn reserve_with(
        &self,
        authority: Authority,
        now: Timestamp,
        charges: &mut [Charge],
    ) -> Result<Option<Rejection>, StoreError> {
        if authority == Authority::None {
            return self.reserve_unlimited(now, charges, |_| true);
        }
        match self.reserve(now, charges)? {
            Some(rejection)
                if authority == Authority::Concurrent
                    && rejection.charge.is_counted_by_service()
                    && rejection.charge.counter.standing.reserved == 0 =>
            {
                // At its other counters there may be requests beside it.
                let alone = charges.iter();
                let alone = alone.filter(|charge| charge.counter.standing.reserved == 0);
                let alone: Vec<CounterId> = alone.map(Charge::id).collect();
                self.reserve_unlimited(now, charges, |charge| alone.contains(&charge.id()))
            }
            rejection => Ok(rejection),
        }
    }

    /// Reserves in this Envoy's own count. Counters of the service that are `unlimited` always have
    /// room.
    fn reserve_unlimited(
        &self,
        now: Timestamp,
        charges: &mut [Charge],
        unlimited: impl Fn(&Charge) -> bool,
    ) -> Result<Option<Rejection>, StoreError> {
        let limits: Vec<u64> = charges.iter().map(|charge| charge.counter.limit).collect();
        for charge in charges.iter_mut() {
            if charge.is_counted_by_service() && unlimited(charge) {
                charge.counter.limit = u64::MAX;
            }
        }
        let rejection = self.reserve(now, charges);
        for (charge, limit) in charges.iter_mut().zip(limits) {
            charge.counter.limit = limit;
            charge.counter.standing.limit = limit;
        }
        rejection
    }
}
