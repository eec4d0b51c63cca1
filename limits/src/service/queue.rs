//! Settlements that are still to be sent, because they are gathered or because sending them failed.
//!
//! The amounts of one descriptor set are one entry. Nothing is lost silently: an amount leaves the
//! queue when it is sent, or is given up explicitly.

use super::backoff;
use super::descriptors::DescriptorSet;
use super::settings::QueueBounds;
use crate::time::{Nanos, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
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
    /// How often sending it has failed.
    pub(super) failures: u32,
}

/// The settlements that are still to be sent.
#[derive(Debug, Default)]
pub(super) struct SettlementQueue {
    bounds: QueueBounds,
    entries: BTreeMap<Rc<DescriptorSet>, Pending>,
    /// When each entry is due: the earliest is sent first, so that none waits behind those that are added
    /// again and again.
    schedule: BTreeSet<(Timestamp, Rc<DescriptorSet>)>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    amount: u64,
    since: Timestamp,
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
            failures,
        } = settlement;
        let pending = Pending {
            amount,
            since,
            failures,
            due,
        };
        if let Some(known) = self.entries.get_mut(&descriptors) {
            let before = known.due;
            known.merge(&pending);
            let due = known.due;
            self.reschedule(&descriptors, before, due);
            return Placement::Queued;
        }
        let bytes = self.bytes.saturating_add(descriptors.size());
        if self.entries.len() >= self.bounds.entries || bytes > self.bounds.bytes {
            let of_same_limits = self
                .entries
                .iter_mut()
                .filter(|(other, _)| other.limits == descriptors.limits);
            if let Some((other, oldest)) = of_same_limits.min_by_key(|(_, known)| known.since) {
                let (before, other) = (oldest.due, Rc::clone(other));
                oldest.merge(&pending);
                let due = oldest.due;
                self.reschedule(&other, before, due);
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
        self.entries.insert(descriptors, pending);
        Placement::Queued
    }

    fn reschedule(&mut self, set: &Rc<DescriptorSet>, before: Timestamp, due: Timestamp) {
        if before != due {
            self.schedule.remove(&(before, Rc::clone(set)));
            self.schedule.insert((due, Rc::clone(set)));
        }
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

    /// Takes an amount off the settlement of a descriptor set. Returns what is left of the amount.
    pub(super) fn reduce(&mut self, descriptors: &Rc<DescriptorSet>, amount: u64) -> u64 {
        let Some(pending) = self.entries.get_mut(descriptors) else {
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
        let schedule: Vec<_> = self.schedule.iter().cloned().collect();
        let all = schedule.into_iter();
        all.filter_map(|(due, set)| Some((self.take(vec![set]).pop()?, due)))
            .collect()
    }

    /// Removes the oldest entry, due or not.
    pub(super) fn take_oldest(&mut self) -> Option<Settlement> {
        let (oldest, _) = self
            .entries
            .iter()
            .min_by_key(|(_, pending)| pending.since)?;
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
                taken.push(Settlement {
                    descriptors,
                    amount: pending.amount,
                    since: pending.since,
                    failures: pending.failures,
                });
            }
        }
        taken
    }
}

// === impl Settlement ===

impl Settlement {
    /// Returns whether it is too old to be sent.
    pub(super) fn is_stale(&self, now: Timestamp) -> bool {
        self.since.saturating_add(MAX_AGE) < now
    }
}

// === impl Pending ===

impl Pending {
    fn merge(&mut self, other: &Self) {
        self.amount = self.amount.saturating_add(other.amount);
        self.since = self.since.min(other.since);
        // What has failed is delayed; what is merged with it is delayed with it.
        if other.failures > self.failures {
            self.failures = other.failures;
            self.due = other.due;
        }
    }
}
