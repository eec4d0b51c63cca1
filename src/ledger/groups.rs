//! The calls of a check: which counters are checked together.

use super::admission::CounterValues;
use super::charge::{Charge, CounterId};
use super::pending::PendingCall;
use super::service::Service;
use crate::policies::{Policies, Rate, Unit};
use filter_config::LimitIndex;
use limits::service::{CheckRequest, DescriptorSet, LimitEntries, Protocol};
use limits::{Nanos, Reservation};
use std::rc::Rc;

/// Counters that are checked by one call.
#[derive(Debug)]
struct Group<'a> {
    domain: &'a str,
    /// One of the rates.
    rate: &'a Rate,
    /// The charges; all of them cost the same.
    charges: Vec<&'a Charge>,
    /// Their limits, each once.
    limits: Vec<LimitIndex>,
}

// === impl Group ===

impl Group<'_> {
    /// Returns whether a charge to a rate can be checked by the same call.
    fn takes(
        &self,
        policies: &Policies,
        service: &Service,
        domain: &str,
        it: (&Rate, &Charge),
    ) -> bool {
        let (rate, charge) = it;
        let Some(first) = self.charges.first() else {
            return false;
        };
        let is_enforced = first.is_enforced;
        let reserves = service.client.protocol() == Protocol::Reserve;
        is_enforced == charge.is_enforced
            // Limits that only report are checked one by one.
            && (is_enforced || self.limits.contains(&rate.limit))
            && self.domain == domain
            // A limit that only reports reserves nothing at those of its counters without room.
            && (!reserves || !is_enforced || reserves_equal(&first.counter, &charge.counter))
            && policies.have_equal_cost(self.rate, rate)
            // A service does not always say which limit has no room.
            && policies.on_exceeded(first.rate) == policies.on_exceeded(charge.rate)
    }

    /// Returns the call that checks the counters; `None` where the service does not know them.
    fn call(&self, service: &Service, values: &[CounterValues], ttl: Nanos) -> Option<PendingCall> {
        let descriptors = descriptors(service, self.rate.unit, &self.limits, values)?;
        let counters = || self.charges.iter().map(|charge| &charge.counter);
        let amount = counters().map(|counter| counter.amount).max()?;
        // A service never grants more than a limit, nor more than 1 where nothing is left.
        let max = counters().map(|counter| counter.limit).min()?;
        let is_exhausted = counters().any(|counter| counter.standing.used >= counter.limit)
            && counters().all(|counter| counter.standing.reserved == 0);
        let max = if is_exhausted { 1 } else { max };
        Some(PendingCall {
            request: CheckRequest {
                descriptors: Rc::new(descriptors),
                amount: amount.min(max).max(1),
                ttl,
            },
            counters: self
                .charges
                .iter()
                .map(|charge| charge.id())
                .collect::<Vec<CounterId>>(),
            limits: self.limits.clone(),
            is_enforced: self.charges.first()?.is_enforced,
            call: None,
            result: None,
            is_saturated: false,
        })
    }
}

/// Returns whether two reservations are of the same amount, but for being clamped to their limits.
fn reserves_equal(one: &Reservation, other: &Reservation) -> bool {
    let (less, more) = if one.amount <= other.amount {
        (one, other)
    } else {
        (other, one)
    };
    less.amount == more.amount || less.amount == less.limit
}

/// Returns the calls about the counters of an exchange: one for all enforced limits of a domain that
/// cost and reserve the same, and one for each limit that only reports.
pub(super) fn calls(
    policies: &Policies,
    service: &Service,
    charges: &[Charge],
    values: &[CounterValues],
    ttl: Nanos,
) -> Vec<PendingCall> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for charge in charges {
        let Some(rate) = policies.rate(charge.rate) else {
            continue;
        };
        let Some(names) = service.names(rate.limit) else {
            continue;
        };
        if !charge.is_counted_by_service() {
            continue;
        }
        let domain = &*names.domain;
        let mut known = groups.iter_mut();
        match known.find(|group| group.takes(policies, service, domain, (rate, charge))) {
            Some(group) => {
                group.charges.push(charge);
                if !group.limits.contains(&rate.limit) {
                    group.limits.push(rate.limit);
                }
            }
            None => groups.push(Group {
                domain,
                rate,
                charges: vec![charge],
                limits: vec![rate.limit],
            }),
        }
    }
    let calls = groups
        .iter()
        .filter_map(|group| group.call(service, values, ttl));
    let mut calls: Vec<PendingCall> = calls.collect();
    calls.shrink_to_fit();
    calls
}

/// Returns the descriptors of limits; `None` where the service does not count the unit.
fn descriptors(
    service: &Service,
    unit: Unit,
    limits: &[LimitIndex],
    values: &[CounterValues],
) -> Option<DescriptorSet> {
    let mut known = Vec::with_capacity(limits.len());
    let mut hash = 0_u128;
    for &limit in limits {
        let names = service.names(limit)?;
        let values = values.iter().find(|values| values.limit == limit)?;
        let counters = names.counters.iter().cloned();
        let counters: Vec<_> = counters.zip(values.texts.iter().cloned()).collect();
        let key = names.key(unit)?;
        hash = hash.rotate_left(1) ^ key.hash;
        known.push((names, key, counters));
    }
    let (first, ..) = known.first()?;
    let domain = Rc::clone(&first.domain);
    let limits: Vec<LimitEntries<'_>> = known
        .iter()
        .map(|(_, key, counters)| LimitEntries {
            key: &key.text,
            counters,
        })
        .collect();
    let layout = service.client.layout();
    Some(DescriptorSet::new(domain, &limits, hash, layout))
}
