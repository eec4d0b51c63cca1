//! Settlements that are still to be sent, because they are gathered or because sending them failed.
//!
//! The amounts of one descriptor set are one entry. Nothing is lost silently: an amount leaves the
//! queue when it is sent, or is given up explicitly.

use super::backoff;
use super::descriptors::DescriptorSet;
use super::settings::QueueBounds;
use crate::time::{Nanos, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::rc::Rc;

/// The age at which an amount is given up.
pub(super) const MAX_AGE: Nanos = Nanos::DAY;

/// An amount to be added to the counters of a descriptor set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settlement {
    /// The counters.
    pub(super) descriptors: Rc<DescriptorSet>,
    /// What is added.
    pub(super) amount: u64,
    /// When the oldest part of it was used.
    pub(super) since: Timestamp,
    /// When the newest part of it was used.
    pub(super) latest: Timestamp,
    /// How often sending it has failed.
    pub(super) failures: u32,
}

/// Entries in the order of a time.
type Ordered = BTreeSet<(Timestamp, Rc<DescriptorSet>)>;

/// The settlements that are still to be sent.
#[derive(Debug, Default)]
pub(super) struct SettlementQueue {
    bounds: QueueBounds,
    /// The values of these maps are boxed, as those of others by the same keys: the module has the code of one map.
    entries: BTreeMap<Rc<DescriptorSet>, Box<Pending>>,
    /// When each entry is due: the earliest is sent first, so that none waits behind those that are added
    /// again and again.
    schedule: Ordered,
    /// Since when each entry is there, for each set of limits: the oldest is merged with what finds no room.
    ages: BTreeMap<u128, Box<Ordered>>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    amount: u64,
    since: Timestamp,
    latest: Timestamp,
    failures: u32,
    /// When it is to be sent.
    due: Timestamp,
}

/// What became of a settlement that was added to the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// It is queued under its own descriptor set.
    Queued,
    /// The queue was full: it was merged with the oldest descriptor set of the same limits.
    Merged,
    /// The queue was full, and it was dropped.
    Dropped,
}

// === impl SettlementQueue ===

impl SettlementQueue {
    /// Returns an empty queue.
    pub(super) fn new(bounds: QueueBounds) -> Self {
        Self {
            bounds,
            ..Self::default()
        }
    }

    /// Returns whether the queue is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the number of entries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds a settlement, to be sent at `due`.
    pub(super) fn add(&mut self, settlement: Settlement, due: Timestamp) -> Placement {
        let Settlement {
            descriptors,
            amount,
            since,
            latest,
            failures,
        } = settlement;
        let pending = Pending {
            amount,
            since,
            latest,
            failures,
            due,
        };
        if self.merge(&descriptors, &pending) {
            return Placement::Queued;
        }
        let bytes = self.bytes.saturating_add(descriptors.size());
        if self.entries.len() >= self.bounds.entries || bytes > self.bounds.bytes {
            let of_same_limits = self.ages.get(&descriptors.limits);
            let oldest = of_same_limits.and_then(|ages| ages.first()).cloned();
            if oldest.is_some_and(|(_, oldest)| self.merge(&oldest, &pending)) {
                return Placement::Merged;
            }
            // There is at least one entry for each set of limits, so that this is only reached by a
            // policy of very many limits that apply in very many combinations.
            if self.entries.len() >= self.bounds.entries.saturating_mul(2) {
                return Placement::Dropped;
            }
        }
        self.bytes = bytes;
        self.schedule.insert((due, Rc::clone(&descriptors)));
        let ages = self.ages.entry(descriptors.limits).or_default();
        ages.insert((since, Rc::clone(&descriptors)));
        self.entries.insert(descriptors, Box::new(pending));
        Placement::Queued
    }

    /// Merges an amount with the entry of a descriptor set. Returns whether there is one.
    fn merge(&mut self, set: &Rc<DescriptorSet>, other: &Pending) -> bool {
        let Some(known) = self.entries.get_mut(set) else {
            return false;
        };
        let before = **known;
        known.merge(other);
        let Pending { since, due, .. } = **known;
        if before.due != due {
            self.schedule.remove(&(before.due, Rc::clone(set)));
            self.schedule.insert((due, Rc::clone(set)));
        }
        if before.since != since {
            let ages = self.ages.entry(set.limits).or_default();
            ages.remove(&(before.since, Rc::clone(set)));
            ages.insert((since, Rc::clone(set)));
        }
        true
    }

    /// Adds a settlement whose sending has failed, to be sent again after a delay.
    pub(super) fn retry(
        &mut self,
        mut settlement: Settlement,
        now: Timestamp,
        random: u64,
    ) -> Placement {
        settlement.failures = settlement.failures.saturating_add(1);
        let due = now.saturating_add(backoff::delay(settlement.failures, random));
        self.add(settlement, due)
    }

    /// Takes an amount off the settlement of a descriptor set, if all of that was used before `until`. Returns what
    /// is left of the amount.
    pub(super) fn reduce(
        &mut self,
        descriptors: &Rc<DescriptorSet>,
        amount: u64,
        until: Timestamp,
    ) -> u64 {
        let pending = self.entries.get_mut(descriptors);
        let Some(pending) = pending.filter(|pending| pending.latest < until) else {
            return amount;
        };
        let reduced = amount.min(pending.amount);
        pending.amount = pending.amount.saturating_sub(reduced);
        if pending.amount == 0 {
            self.take(vec![Rc::clone(descriptors)]);
        }
        amount.saturating_sub(reduced)
    }

    /// Removes what is due, at most `max` entries.
    pub(super) fn take_due(&mut self, now: Timestamp, max: usize) -> Vec<Settlement> {
        let first = self.schedule.iter();
        let first = first.take_while(|(due, _)| *due <= now).take(max);
        let mut sets: Vec<_> = first.map(|(_, set)| Rc::clone(set)).collect();
        // A clock that stepped backwards must not put any off for longer than the longest delay.
        let latest = now.saturating_add(backoff::MAX_DELAY);
        let last = self.schedule.iter().rev();
        let last = last.take_while(|(due, _)| *due > latest);
        let rest = max.saturating_sub(sets.len());
        sets.extend(last.take(rest).map(|(_, set)| Rc::clone(set)));
        self.take(sets)
    }

    /// Removes everything: each settlement, and when it is due.
    pub(super) fn take_all(&mut self) -> Vec<(Settlement, Timestamp)> {
        let bounds = self.bounds;
        let Self {
            mut entries,
            schedule,
            ..
        } = mem::replace(self, Self::new(bounds));
        let all = schedule.into_iter();
        all.filter_map(|(due, set)| {
            let pending = entries.remove(&set)?;
            Some((pending.settlement(set), due))
        })
        .collect()
    }

    /// Removes the oldest entry, due or not.
    pub(super) fn take_oldest(&mut self) -> Option<Settlement> {
        let oldest = self.ages.values().filter_map(|ages| ages.first());
        let (_, oldest) = oldest.min_by_key(|(since, _)| *since)?;
        let oldest = vec![Rc::clone(oldest)];
        self.take(oldest).pop()
    }

    /// Makes everything due now.
    pub(super) fn make_due(&mut self, now: Timestamp) {
        self.schedule.clear();
        for (descriptors, pending) in &mut self.entries {
            pending.due = pending.due.min(now);
            self.schedule.insert((pending.due, Rc::clone(descriptors)));
        }
    }

    fn take(&mut self, sets: Vec<Rc<DescriptorSet>>) -> Vec<Settlement> {
        let mut taken = Vec::with_capacity(sets.len());
        for descriptors in sets {
            if let Some(pending) = self.entries.remove(&descriptors) {
                self.bytes = self.bytes.saturating_sub(descriptors.size());
                self.schedule
                    .remove(&(pending.due, Rc::clone(&descriptors)));
                if let Some(ages) = self.ages.get_mut(&descriptors.limits) {
                    ages.remove(&(pending.since, Rc::clone(&descriptors)));
                    if ages.is_empty() {
                        self.ages.remove(&descriptors.limits);
                    }
                }
                taken.push(pending.settlement(descriptors));
            }
        }
        taken
    }
}

// === impl Settlement ===

impl Settlement {
    /// Returns a settlement of an exchange that is over.
    pub(super) const fn new(descriptors: Rc<DescriptorSet>, amount: u64, now: Timestamp) -> Self {
        Self {
            descriptors,
            amount,
            since: now,
            latest: now,
            failures: 0,
        }
    }

    /// Returns whether it is too old to be sent.
    pub(super) fn is_stale(&self, now: Timestamp) -> bool {
        self.since.saturating_add(MAX_AGE) < now
    }
}

// === impl Pending ===

impl Pending {
    const fn settlement(self, descriptors: Rc<DescriptorSet>) -> Settlement {
        Settlement {
            descriptors,
            amount: self.amount,
            since: self.since,
            latest: self.latest,
            failures: self.failures,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.amount = self.amount.saturating_add(other.amount);
        self.since = self.since.min(other.since);
        self.latest = self.latest.max(other.latest);
        // What has failed is delayed; what is merged with it is delayed with it.
        if other.failures > self.failures {
            self.failures = other.failures;
            self.due = other.due;
        }
    }
}
