//! Counters that are read without a request, and usage that is taken back from them.

use super::{Loaded, LocalStore, StoreError};
use crate::reservation::Reservation;
use crate::shared_data::SharedData;
use crate::time::Timestamp;
use std::ops::ControlFlow;

// === impl LocalStore ===

impl LocalStore {
    /// Sets the standing of each reservation to that of its counter. Nothing is written, and no counter is made.
    ///
    /// # Errors
    /// [`StoreError::SharedData`], when a page cannot be read.
    pub fn read<R: AsMut<Reservation>>(
        &self,
        shared: &dyn SharedData,
        now: Timestamp,
        reservations: &mut [R],
    ) -> Result<(), StoreError> {
        // Counters of one key follow one another, and lie on one page.
        let mut loaded: Option<Loaded> = None;
        for it in &mut self.on_pages(reservations) {
            let page = match loaded.take() {
                Some(page) if page.number == it.page => page,
                _ => self.load(shared, it.page)?,
            };
            let page = loaded.insert(page);
            let counter = page.page.counter(it.reservation, now);
            it.reservation.standing = counter.standing(it.reservation, now);
        }
        Ok(())
    }

    /// Takes back what is used of each reservation's counter, at most `amount`; what is reserved stays. Sets the
    /// standing of each to that of its counter then. Returns the most that was taken back from a counter.
    ///
    /// # Errors
    /// [`StoreError::SharedData`] and [`StoreError::Contended`]; counters on other pages may have been changed.
    pub fn credit<R: AsMut<Reservation>>(
        &self,
        shared: &dyn SharedData,
        now: Timestamp,
        reservations: &mut [R],
        amount: u64,
    ) -> Result<u64, StoreError> {
        let mut most = 0;
        for it in &mut self.on_pages(reservations) {
            let mut taken = 0;
            let mut loaded = self.load(shared, it.page)?;
            self.update(shared, &mut loaded, |page| {
                let mut counter = page.counter(it.reservation, now);
                let before = counter.standing(it.reservation, now);
                if counter.credit(it.reservation, now, amount) > 0 {
                    self.note(page.store(it.reservation, counter, now));
                }
                // One that was evicted may read as before, by the floor.
                let after = page.counter(it.reservation, now);
                let after = after.standing(it.reservation, now);
                taken = before.used.saturating_sub(after.used);
                it.reservation.standing = after;
                ControlFlow::Continue(())
            })?;
            most = most.max(taken);
        }
        Ok(most)
    }
}
