//! The questions that an exchange asks of a rate limit service: which limits go together in one.

use super::{Pending, is_counted};
use crate::admit::applicable::Values;
use crate::admit::{Admission, lifetime};
use crate::plugin::{Charge, Counts, Plugin, Rate, Service};
use limits::Nanos;
use limits::service::{CheckRequest, DescriptorSet, LimitEntries, Protocol};
use std::rc::Rc;

/// Counters that one question is about.
#[derive(Debug)]
struct Group<'a> {
    domain: &'a str,
    /// One of the rates.
    rate: &'a Rate,
    /// What is charged to it.
    first: &'a Charge,
    shadow: bool,
    /// The positions of the counters among the charges.
    charges: Vec<usize>,
    /// Their policies and limits, each once.
    limits: Vec<(usize, usize)>,
}

/// The questions about the counters of an exchange: one for all those of a domain that cost the same
/// and hold the same, and one for each limit in shadow, which are the charges from `firm` on.
pub(super) fn groups(
    plugin: &Plugin,
    service: &Service,
    admission: &Admission,
    firm: usize,
    values: &[Values],
) -> Vec<Pending> {
    let Admission {
        charges, standings, ..
    } = admission;
    let holds = service.remote.protocol() == Protocol::Reserve;
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (position, charge) in charges.iter().enumerate() {
        let Some(rate) = plugin.rates.get(charge.rate) else {
            continue;
        };
        let Some(named) = service.named(rate.policy, rate.limit) else {
            continue;
        };
        if !is_counted(plugin, charge) {
            continue;
        }
        let shadow = position >= firm;
        let limit = (rate.policy, rate.limit);
        let known = groups.iter_mut().find(|group| {
            group.shadow == shadow
                && (!shadow || group.limits.contains(&limit))
                && group.domain == &*named.domain
                // One in shadow holds nothing at those of its counters that have no room.
                && (!holds || shadow || group.first.hold == charge.hold)
                && plugin.cost_the_same(group.rate, rate)
                // A service does not always tell which limit has no room.
                && plugin.on_exceeded(group.first) == plugin.on_exceeded(charge)
        });
        match known {
            Some(group) => {
                group.charges.push(position);
                if !group.limits.contains(&limit) {
                    group.limits.push(limit);
                }
            }
            None => groups.push(Group {
                domain: &named.domain,
                rate,
                first: charge,
                shadow,
                charges: vec![position],
                limits: vec![limit],
            }),
        }
    }
    let pending = groups.into_iter().filter_map(|group| {
        let subject = subject(service, group.rate.counts, &group.limits, values)?;
        let positions = group.charges;
        let of_group = positions
            .iter()
            .filter_map(|&position| charges.get(position));
        let hold = of_group.clone().map(|charge| charge.hold).max()?;
        // More than a limit is never granted; and where nothing is left, more than 1 is asked in vain.
        let most = of_group.map(|charge| charge.limit).min()?;
        let mut stand = positions
            .iter()
            .filter_map(|&position| Some((charges.get(position)?, standings.get(position)?)));
        let is_spent = stand
            .clone()
            .any(|(charge, standing)| standing.used >= charge.limit)
            && stand.all(|(_, standing)| standing.reserved == 0);
        let most = if is_spent { 1 } else { most };
        Some(Pending {
            question: CheckRequest {
                descriptors: Rc::new(subject),
                amount: hold.min(most).max(1),
                ttl: Nanos::new(lifetime(plugin, charges)),
            },
            shadow: group.shadow,
            charges: positions,
            limits: group.limits,
            token: None,
            answer: None,
        })
    });
    pending.collect()
}

fn subject(
    service: &Service,
    counts: Counts,
    limits: &[(usize, usize)],
    values: &[Values],
) -> Option<DescriptorSet> {
    let mut known = Vec::with_capacity(limits.len());
    let mut counters = Vec::with_capacity(limits.len());
    let mut hash = 0_u128;
    for &(policy, limit) in limits {
        let named = service.named(policy, limit)?;
        let values = values
            .iter()
            .find(|values| (values.index.policy, values.index.limit) == (policy, limit))?;
        let pairs = named.counters.iter().cloned();
        let pairs: Vec<_> = pairs.zip(values.texts.iter().cloned()).collect();
        let key = named.key(counts)?;
        hash = hash.rotate_left(1) ^ key.hash;
        known.push((named, key));
        counters.push(pairs);
    }
    let (first, _) = known.first()?;
    let domain = Rc::clone(&first.domain);
    let limits: Vec<LimitEntries<'_>> = known
        .iter()
        .zip(&counters)
        .map(|((_, key), counters)| LimitEntries {
            key: &key.text,
            counters,
        })
        .collect();
    Some(DescriptorSet::new(
        domain,
        &limits,
        hash,
        service.remote.layout(),
    ))
}
