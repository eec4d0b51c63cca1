//! Deferral of charges, and their settlement or expiry.

use super::admission::Admission;
use super::charge::{self, Charge};
use super::deferred::{self, DeferredCharge};
use super::store::Ledger;
use limits::{Insertion, Nanos, StoreError, Taken, Timestamp};
use usage_meter::Usage;

/// The number of stored records whose expiry a worker watches.
const MAX_STORED: usize = 4096;

/// The longest name of a model that is kept, in bytes.
const MAX_MODEL_BYTES: usize = 64;

/// The result of a search for a deferred charge.
#[derive(Debug)]
pub(crate) enum DeferredLookup {
    /// It is to be settled by the caller.
    Found(Box<DeferredCharge>),
    /// It was settled before.
    Settled,
    /// There is none.
    Missing,
}

// === impl Ledger ===

impl Ledger {
    /// Stores the charges of tokens and money of an exchange, whose cost is estimated. They are deferred once
    /// [`Admission::remove_deferred`] has removed them from the exchange; until then it can take them back.
    ///
    /// Returns whether they were stored, for which there may be no room, and charges that have expired or made room,
    /// which are to be settled. `owner` is the caller, as callers share the room.
    ///
    /// # Errors
    /// [`StoreError`]; they are not stored then.
    pub(crate) fn defer(
        &self,
        now: Timestamp,
        lifetime: Nanos,
        (owner, key): (u64, u128),
        admission: &Admission,
        (estimate, model): (Usage, Option<&str>),
    ) -> Result<(bool, Vec<DeferredCharge>), StoreError> {
        let charges = admission.charges.iter().copied();
        let charges: Vec<Charge> = charges.filter(Charge::can_be_deferred).collect();
        let model = model.filter(|model| model.len() <= MAX_MODEL_BYTES);
        if charges.is_empty() {
            return Ok((false, Vec::new()));
        }
        let remote = admission.remote.iter();
        let remote = remote.filter(|it| charge::find(&charges, it.counter).is_some());
        let bytes = deferred::encode(&self.policies, &charges, remote, &estimate, model);
        let until = now.saturating_add(lifetime);
        let records = &self.deferred.records;
        let (insertion, expired) = records.insert(&*self.host, now, owner, key, until, &bytes)?;
        let expired = self.decode_all(&expired);
        let Insertion::Stored(page) = insertion else {
            return Ok((false, expired));
        };
        let mut stored = self.deferred.stored.borrow_mut();
        if stored.len() < MAX_STORED {
            stored.push_back((until, page));
        }
        Ok((true, expired))
    }

    /// Takes a deferred charge, to settle it. Returns it, and expired charges, which are to be settled as well.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was taken then.
    pub(crate) fn take_deferred(
        &self,
        now: Timestamp,
        key: u128,
    ) -> Result<(DeferredLookup, Vec<DeferredCharge>), StoreError> {
        let (taken, expired) = self.deferred.records.take(&*self.host, now, key)?;
        let found = match taken {
            Taken::Record(bytes) => deferred::decode(&self.policies, &bytes)
                .map_or(DeferredLookup::Settled, |deferred| {
                    DeferredLookup::Found(Box::new(deferred))
                }),
            Taken::Before => DeferredLookup::Settled,
            Taken::Nothing => DeferredLookup::Missing,
        };
        Ok((found, self.decode_all(&expired)))
    }

    /// Raises the estimate of a deferred charge to so many output tokens, if it is lower: so much was generated.
    /// Returns charges whose time is up, which are to be settled.
    ///
    /// # Errors
    /// [`StoreError`]; the estimate stays then.
    pub(crate) fn raise_deferred(
        &self,
        now: Timestamp,
        key: u128,
        output_tokens: u64,
    ) -> Result<Vec<DeferredCharge>, StoreError> {
        let raise = &mut |bytes: &[u8]| {
            let mut deferred = deferred::decode(&self.policies, bytes)?;
            deferred.raise(output_tokens).then_some(())?;
            let DeferredCharge {
                admission: Admission {
                    charges, remote, ..
                },
                estimate,
                model,
            } = &deferred;
            let remote = remote.iter();
            let model = model.as_deref();
            let policies = &self.policies;
            Some(deferred::encode(policies, charges, remote, estimate, model))
        };
        let records = &self.deferred.records;
        let expired = records.replace(&*self.host, now, key, raise)?;
        Ok(self.decode_all(&expired))
    }

    /// Takes the expired charges of a page on which this worker has stored some. They are to be settled.
    pub(crate) fn take_expired(&self, now: Timestamp) -> Vec<DeferredCharge> {
        let mut stored = self.deferred.stored.borrow_mut();
        let Some((_, page)) = stored.front().copied().filter(|(until, _)| *until <= now) else {
            return Vec::new();
        };
        stored.pop_front();
        let expired = self.deferred.records.expired(&*self.host, now, page);
        self.decode_all(&expired.unwrap_or_default())
    }

    fn decode_all(&self, records: &[Vec<u8>]) -> Vec<DeferredCharge> {
        let records = records.iter();
        let deferred = records.filter_map(|bytes| deferred::decode(&self.policies, bytes));
        deferred.collect()
    }
}
