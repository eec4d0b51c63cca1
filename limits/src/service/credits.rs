//! Credits: what a service was sent in excess of what an exchange costs in the end.
//!
//! The protocols can add to a counter but not subtract. A credit reduces what is sent next for the same
//! counters instead, until the end of the window in which the excess was counted, as far as it is known.

use super::descriptors::DescriptorSet;
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The number of descriptor sets with a credit. A credit beyond it is dropped: the excess stays counted.
const MAX_CREDITS: usize = 1024;

/// The bytes of these sets, as a caller may have values of any length.
const MAX_BYTES: usize = 1 << 20;

/// The credits of a worker.
#[derive(Debug, Default)]
pub(super) struct Credits(BTreeMap<Rc<DescriptorSet>, Credit>);

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
        self.0.retain(|_, credit| now < credit.until);
        if let Some(known) = self.0.get_mut(descriptors) {
            known.amount = known.amount.saturating_add(amount);
            known.until = known.until.min(until);
        } else if self.has_room(descriptors) && now < until {
            self.0
                .insert(Rc::clone(descriptors), Credit { amount, until });
        }
    }

    fn has_room(&self, descriptors: &DescriptorSet) -> bool {
        let sizes = self.0.keys().map(|set| set.size());
        let bytes = sizes.fold(descriptors.size(), usize::saturating_add);
        self.0.len() < MAX_CREDITS && bytes <= MAX_BYTES
    }

    /// Returns what is left to be sent of an amount.
    pub(super) fn reduce(
        &mut self,
        now: Timestamp,
        descriptors: &Rc<DescriptorSet>,
        amount: u64,
    ) -> u64 {
        let Some(credit) = self.0.get_mut(descriptors) else {
            return amount;
        };
        if credit.until <= now {
            self.0.remove(descriptors);
            return amount;
        }
        let reduced = amount.min(credit.amount);
        credit.amount = credit.amount.saturating_sub(reduced);
        if credit.amount == 0 {
            self.0.remove(descriptors);
        }
        amount.saturating_sub(reduced)
    }

    /// Removes all credits: the counters, the amount, and when it expires.
    pub(super) fn take_all(
        &mut self,
    ) -> impl Iterator<Item = (Rc<DescriptorSet>, u64, Timestamp)> + use<> {
        let credits = std::mem::take(&mut self.0).into_iter();
        credits.map(|(descriptors, credit)| (descriptors, credit.amount, credit.until))
    }

    /// Drops all credits.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
