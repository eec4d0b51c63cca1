//! Credits: what a service was sent in excess of what an exchange costs in the end.
//!
//! The protocols can add to a counter but not subtract. A credit reduces what is sent next for the same
//! counters instead, until the end of the window in which the excess was counted, as far as it is known.

use super::descriptors::DescriptorSet;
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::mem;
use std::rc::Rc;

/// The number of descriptor sets with a credit. A credit beyond it is dropped: the excess stays counted.
const MAX_CREDITS: usize = 1024;

/// The bytes of these sets, as a caller may have values of any length.
const MAX_BYTES: usize = 1 << 20;

/// The credits of a worker.
#[derive(Debug, Default)]
pub(super) struct Credits {
    /// Boxed, as the values of the other maps by descriptor set: the module has the code of one map.
    sets: BTreeMap<Rc<DescriptorSet>, Box<Credit>>,
    /// The bytes of the sets.
    bytes: usize,
    /// When the first of them expires, or earlier.
    expires_at: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Credit {
    amount: u64,
    /// When it expires.
    until: Timestamp,
}

// === impl Credits ===

impl Credits {
    /// Adds a credit, which expires together with one that is there already.
    pub(super) fn add(
        &mut self,
        now: Timestamp,
        descriptors: &Rc<DescriptorSet>,
        amount: u64,
        until: Timestamp,
    ) {
        self.expires_at = self.expires_at.min(until);
        if let Some(known) = self.sets.get_mut(descriptors) {
            if known.until <= now {
                **known = Credit { amount, until };
                return;
            }
            known.amount = known.amount.saturating_add(amount);
            known.until = known.until.min(until);
            return;
        }
        if !self.has_room(descriptors) {
            self.remove_expired(now);
        }
        if self.has_room(descriptors) && now < until {
            self.bytes = self.bytes.saturating_add(descriptors.size());
            let credit = Credit { amount, until };
            self.sets.insert(Rc::clone(descriptors), Box::new(credit));
        }
    }

    fn has_room(&self, descriptors: &DescriptorSet) -> bool {
        let bytes = self.bytes.saturating_add(descriptors.size());
        self.sets.len() < MAX_CREDITS && bytes <= MAX_BYTES
    }

    /// Removes expired credits. It visits all of them, so it does nothing before the first expires.
    fn remove_expired(&mut self, now: Timestamp) {
        if now < self.expires_at {
            return;
        }
        self.sets.retain(|_, credit| now < credit.until);
        self.bytes = self
            .sets
            .keys()
            .fold(0, |bytes, set| bytes.saturating_add(set.size()));
        let next = self.sets.values().map(|credit| credit.until).min();
        self.expires_at = next.unwrap_or(Timestamp::MAX);
    }

    fn remove(&mut self, descriptors: &Rc<DescriptorSet>) {
        if self.sets.remove(descriptors).is_some() {
            self.bytes = self.bytes.saturating_sub(descriptors.size());
        }
    }

    /// Returns what is left to be sent of an amount.
    pub(super) fn reduce(
        &mut self,
        now: Timestamp,
        descriptors: &Rc<DescriptorSet>,
        amount: u64,
    ) -> u64 {
        let Some(credit) = self.sets.get_mut(descriptors) else {
            return amount;
        };
        if credit.until <= now {
            self.remove(descriptors);
            return amount;
        }
        let reduced = amount.min(credit.amount);
        credit.amount = credit.amount.saturating_sub(reduced);
        if credit.amount == 0 {
            self.remove(descriptors);
        }
        amount.saturating_sub(reduced)
    }

    /// Removes all credits: the counters, the amount, and when it expires.
    pub(super) fn take_all(
        &mut self,
    ) -> impl Iterator<Item = (Rc<DescriptorSet>, u64, Timestamp)> + use<> {
        let credits = mem::take(self).sets.into_iter();
        credits.map(|(descriptors, credit)| (descriptors, credit.amount, credit.until))
    }

    /// Drops all credits.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
