//! The calls of a check: which counters are checked together.

use super::admission::{Admission, CounterValues};
use super::charge::{Charge, CounterId};
use super::pending::PendingCall;
use super::service::Service;
use crate::policies::{Policies, Rate, Unit};
use filter_config::LimitIndex;
use limits::service::{
    CheckRequest, CheckResult, DescriptorSet, LeaseDemand, LeaseHold, LeaseUnit, LimitEntries,
    Protocol, Reply,
};
use limits::{Nanos, Reservation, Standing, Timestamp};
use std::rc::Rc;

/// Counters that are checked by one call.
#[derive(Debug)]
struct Group<'a> {
    domain: &'a str,
    /// One of the rates.
    rate: &'a Rate,
    /// The charges; all of them cost the same.
    charges: Vec<&'a Charge>,
    /// Their rates.
    rates: Vec<&'a Rate>,
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

    /// Returns what is to be reserved at the counters.
    fn amount(&self) -> Option<u64> {
        let counters = || self.charges.iter().map(|charge| &charge.counter);
        let amount = counters().map(|counter| counter.amount).max()?;
        // A service never grants more than a limit, nor more than 1 where nothing is left.
        let max = counters().map(|counter| counter.limit).min()?;
        let is_exhausted = counters().any(|counter| counter.standing.used >= counter.limit)
            && counters().all(|counter| counter.standing.reserved == 0);
        let max = if is_exhausted { 1 } else { max };
        Some(amount.min(max).max(1))
    }

    /// Returns the call that checks the counters; `None` where the service does not know them.
    fn call(&self, service: &Service, values: &[CounterValues], ttl: Nanos) -> Option<PendingCall> {
        let descriptors = descriptors(service, self.rate.unit, &self.limits, values)?;
        self.call_about(Rc::new(descriptors), self.amount()?, ttl, None)
    }

    /// Returns the call that reserves what this worker does not hold of its lease. It has its result if the lease has
    /// all.
    fn call_beside(&self, lease: LeaseHold, ttl: Nanos) -> Option<PendingCall> {
        let descriptors = Rc::clone(lease.descriptors());
        let rest = self.amount()?.saturating_sub(lease.amount());
        self.call_about(descriptors, rest, ttl, Some(lease))
    }

    fn call_about(
        &self,
        descriptors: Rc<DescriptorSet>,
        amount: u64,
        ttl: Nanos,
        lease: Option<LeaseHold>,
    ) -> Option<PendingCall> {
        let granted = CheckResult::Reply(Reply::default());
        Some(PendingCall {
            request: CheckRequest {
                descriptors,
                amount,
                ttl,
            },
            lease,
            counters: self
                .charges
                .iter()
                .map(|charge| charge.id())
                .collect::<Vec<CounterId>>(),
            limits: self.limits.clone(),
            is_enforced: self.charges.first()?.is_enforced,
            call: None,
            result: (amount == 0).then_some(granted),
            is_saturated: false,
        })
    }

    /// Returns the calls that check the counters: one for all, or one for each limit where this worker has a lease of
    /// one of them.
    fn calls(
        &self,
        service: &Service,
        values: &[CounterValues],
        (now, ttl): (Timestamp, Nanos),
    ) -> Vec<PendingCall> {
        if !service.client.leases() {
            return self.call(service, values, ttl).into_iter().collect();
        }
        if self.limits.len() == 1 {
            let call = match self.hold(service, values, now) {
                Some(hold) => self.call_beside(hold, ttl),
                None => self.call(service, values, ttl),
            };
            return call.into_iter().collect();
        }
        let parts = self.limits.iter().map(|limit| self.part(*limit));
        let parts: Vec<(Self, Option<LeaseHold>)> = parts
            .map(|part| {
                let hold = part.hold(service, values, now);
                (part, hold)
            })
            .collect();
        if parts.iter().all(|(_, hold)| hold.is_none()) {
            return self.call(service, values, ttl).into_iter().collect();
        }
        let calls = parts.into_iter().filter_map(|(part, hold)| match hold {
            Some(hold) => part.call_beside(hold, ttl),
            None => part.call(service, values, ttl),
        });
        calls.collect()
    }

    /// Returns the counters of one of the limits.
    fn part(&self, limit: LimitIndex) -> Self {
        let charges = self.charges.iter().zip(&self.rates);
        let charges = charges.filter(|(_, rate)| rate.limit == limit);
        let (charges, rates): (Vec<_>, Vec<_>) = charges.unzip();
        Self {
            domain: self.domain,
            rate: rates.first().copied().unwrap_or(self.rate),
            charges,
            rates,
            limits: vec![limit],
        }
    }

    /// Takes what the lease of a limit's counters has room for.
    fn hold(
        &self,
        service: &Service,
        values: &[CounterValues],
        now: Timestamp,
    ) -> Option<LeaseHold> {
        let unit = match self.rate.unit {
            Unit::Tokens(_) => LeaseUnit::Tokens,
            Unit::Requests(_) => LeaseUnit::Requests,
            Unit::Usd(_) | Unit::InFlight => return None,
        };
        let amount = self.amount()?;
        let key = service.names(self.rate.limit)?.key(self.rate.unit)?;
        let counters = || self.charges.iter().map(|charge| &charge.counter);
        let remaining = counters().map(|counter| {
            let remaining = Standing {
                limit: counter.limit,
                ..counter.standing
            };
            remaining.remaining().saturating_sub(amount)
        });
        let ends = counters().map(|counter| {
            let Standing {
                used, resets_at, ..
            } = counter.standing;
            if used > 0 && resets_at > now {
                resets_at
            } else {
                now.saturating_add(counter.rate.window().length)
            }
        });
        let demand = LeaseDemand {
            id: key.hash.rotate_left(1) ^ self.charges.first()?.counter.key,
            unit,
            amount,
            remaining: remaining.min()?,
            window_ends: ends.min()?,
        };
        let descriptors = || descriptors(service, self.rate.unit, &self.limits, values);
        service.client.hold(now, &demand, descriptors)
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
/// cost and reserve the same, and one for each limit that only reports, or of which this worker has a lease.
pub(super) fn calls(
    policies: &Policies,
    service: &Service,
    admission: &Admission,
    values: &[CounterValues],
    times: (Timestamp, Nanos),
) -> Vec<PendingCall> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for charge in &admission.charges {
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
                group.rates.push(rate);
                if !group.limits.contains(&rate.limit) {
                    group.limits.push(rate.limit);
                }
            }
            None => groups.push(Group {
                domain,
                rate,
                charges: vec![charge],
                rates: vec![rate],
                limits: vec![rate.limit],
            }),
        }
    }
    let calls = groups
        .iter()
        .flat_map(|group| group.calls(service, values, times));
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
