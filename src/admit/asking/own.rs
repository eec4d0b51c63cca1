//! This Envoy's own count beside that of a rate limit service: what its requests hold, and have used.

use super::{Asked, is_counted};
use crate::admit::queue::Counter;
use crate::admit::{self, Admission, Denial};
use crate::plugin::{Charge, Counts, Plugin, Service};
use limits::{Standing, StoreError, Timestamp};

/// How this Envoy's own count decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// As it does without a service.
    Alone,
    /// It refuses nobody who is alone, and others as far as they do not fit beside each other.
    Beside,
    /// It refuses nobody.
    Never,
}

/// Counts a request that is let go where requests are counted, at the service and here.
pub(super) fn count_request(
    plugin: &Plugin,
    service: &Service,
    now: u64,
    admission: &mut Admission,
) {
    let Admission {
        charges,
        asked,
        trace,
        ..
    } = admission;
    let counts_requests = |asked: &Asked| {
        let rate = charges.get(asked.charge);
        let rate = rate.and_then(|charge| plugin.rates.get(charge.rate));
        rate.is_some_and(|rate| matches!(rate.counts, Counts::Requests(_)))
    };
    for asked in asked.extract_if(.., |asked| counts_requests(asked)) {
        let cost = 1_u64.saturating_sub(asked.added);
        service.remote.settle(
            Timestamp::new(now),
            &asked.subject,
            asked.reservation,
            cost,
            trace,
        );
    }
    admit::count_request(plugin, now, admission);
}

/// Takes room in this Envoy's own count.
pub(super) fn hold(
    plugin: &Plugin,
    now: u64,
    rule: Rule,
    admission: &mut Admission,
) -> Result<Option<Denial>, StoreError> {
    if rule == Rule::Never {
        return claim(plugin, now, |_| true, admission);
    }
    match admit::claim(plugin, now, admission)? {
        Some(denial)
            if rule == Rule::Beside
                && is_counted(plugin, &denial.charge)
                && denial.standing.reserved == 0 =>
        {
            // At the other counters he may be beside others.
            let stand = admission.charges.iter().zip(&admission.standings);
            let alone = stand.filter(|(_, standing)| standing.reserved == 0);
            let alone: Vec<Counter> = alone.map(|(charge, _)| charge.counter()).collect();
            claim(
                plugin,
                now,
                |charge| alone.contains(&charge.counter()),
                admission,
            )
        }
        denial => Ok(denial),
    }
}

/// Asks this Envoy's storage for room; at the counters that are `boundless`, there is always room for what
/// the service counts.
fn claim(
    plugin: &Plugin,
    now: u64,
    boundless: impl Fn(&Charge) -> bool,
    admission: &mut Admission,
) -> Result<Option<Denial>, StoreError> {
    let denial = admit::claim_as(plugin, now, admission, |charge| {
        let mut reservation = charge.reservation();
        if is_counted(plugin, charge) && boundless(charge) {
            reservation.limit = u64::MAX;
        }
        reservation
    })?;
    for (standing, charge) in admission.standings.iter_mut().zip(&admission.charges) {
        standing.limit = charge.limit;
    }
    Ok(denial)
}

/// Whether there is room by this Envoy's own count, as it stood when a request came.
pub(super) fn fits(charge: &Charge, standing: &Standing) -> bool {
    let taken = standing.used.saturating_add(standing.reserved);
    let with_it = taken.saturating_add(charge.hold);
    taken < charge.limit && (standing.reserved == 0 || with_it <= charge.limit)
}
