//! Reservations that could not be released with the usage of their exchanges, because too many calls were
//! under way or the circuit was open.
//!
//! They are released when there is room for calls, or expire: usage never waits for them.

use super::descriptors::DescriptorSet;
use super::message::ReservationId;
use crate::time::{Nanos, Timestamp};
use std::collections::BTreeMap;
use std::rc::Rc;

/// The number of reservations that are kept. One beyond it expires at the service.
pub(super) const MAX_RELEASES: usize = 1024;

/// The bytes of the descriptors of these reservations, as a caller may have values of any length.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// How long a reservation is kept: limitador keeps none for longer.
pub(super) const MAX_AGE: Nanos = Nanos::MINUTE;

/// The reservations that are to be released.
#[derive(Debug, Default)]
pub(super) struct Releases {
    #[expect(
        clippy::box_collection,
        reason = "as the values of the other maps by descriptor set: the module has the code of one map"
    )]
    sets: BTreeMap<Rc<DescriptorSet>, Box<Vec<Release>>>,
    len: usize,
    bytes: usize,
    /// The time of the oldest release, or earlier.
    oldest: Timestamp,
}

/// A reservation, and since when it is to be released.
#[derive(Debug)]
struct Release(Timestamp, ReservationId);

// === impl Releases ===

impl Releases {
    /// Adds a reservation, if there is room for it.
    pub(super) fn add(
        &mut self,
        now: Timestamp,
        descriptors: &Rc<DescriptorSet>,
        id: ReservationId,
    ) {
        if !self.has_room(descriptors) {
            self.remove_expired(now);
        }
        if self.has_room(descriptors) {
            self.len = self.len.saturating_add(1);
            self.oldest = self.oldest.min(now);
            self.bytes = self.bytes.saturating_add(descriptors.size());
            let releases = self.sets.entry(Rc::clone(descriptors)).or_default();
            releases.push(Release(now, id));
        }
    }

    fn has_room(&self, descriptors: &DescriptorSet) -> bool {
        let bytes = self.bytes.saturating_add(descriptors.size());
        self.len < MAX_RELEASES && bytes <= MAX_BYTES
    }

    /// Removes a reservation of a descriptor set.
    pub(super) fn take_of(
        &mut self,
        now: Timestamp,
        descriptors: &Rc<DescriptorSet>,
    ) -> Option<ReservationId> {
        let releases = self.sets.get_mut(descriptors)?;
        // The newest: older ones have likely expired.
        let taken = releases.pop();
        if releases.is_empty() {
            self.sets.remove(descriptors);
        }
        let Release(since, id) = taken?;
        self.len = self.len.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(descriptors.size());
        (now.since(since) < MAX_AGE).then_some(id)
    }

    /// Removes a reservation of any descriptor set.
    pub(super) fn take(&mut self, now: Timestamp) -> Option<(Rc<DescriptorSet>, ReservationId)> {
        loop {
            let (descriptors, _) = self.sets.first_key_value()?;
            let descriptors = Rc::clone(descriptors);
            if let Some(id) = self.take_of(now, &descriptors) {
                return Some((descriptors, id));
            }
        }
    }

    /// Removes all.
    pub(super) fn take_all(
        &mut self,
    ) -> impl Iterator<Item = (Timestamp, Rc<DescriptorSet>, ReservationId)> + use<> {
        self.len = 0;
        self.bytes = 0;
        let sets = std::mem::take(&mut self.sets).into_iter();
        sets.flat_map(|(descriptors, releases)| {
            let releases = releases.into_iter();
            releases.map(move |Release(since, id)| (since, Rc::clone(&descriptors), id))
        })
    }

    /// Removes expired releases. It visits all of them, so it does nothing before the oldest expires.
    fn remove_expired(&mut self, now: Timestamp) {
        if self.oldest <= now && now.since(self.oldest) < MAX_AGE {
            return;
        }
        self.sets.retain(|_, releases| {
            releases.retain(|Release(since, _)| now.since(*since) < MAX_AGE);
            !releases.is_empty()
        });
        self.len = self.sets.values().map(|releases| releases.len()).sum();
        let sets = self.sets.iter();
        let bytes = sets.map(|(set, releases)| set.size().saturating_mul(releases.len()));
        self.bytes = bytes.sum();
        let since = self
            .sets
            .values()
            .flat_map(|releases| releases.iter())
            .map(|Release(since, _)| *since);
        self.oldest = since.min().unwrap_or(Timestamp::MAX);
    }
}
