//! Counters that are read without a request, and usage that is taken back.

use super::charge::Charge;
use super::error::LedgerError;
use super::store::Ledger;
use crate::policies::RateIndex;
use filter_config::LimitIndex;
use limits::TopCounter;

// === impl Ledger ===

impl Ledger {
    /// Sets the standing of each charge to that of its counter in this Envoy, without a request.
    ///
    /// # Errors
    /// [`LedgerError`], when counters cannot be read.
    pub(crate) fn read(&self, charges: &mut [Charge]) -> Result<(), LedgerError> {
        let now = self.now()?;
        Ok(self.local.read(&*self.host, now, charges)?)
    }

    /// Takes back what is used of each charge's counter in this Envoy, at most `amount`, and sets its standing. Returns
    /// the most that was taken back from a counter.
    ///
    /// # Errors
    /// [`LedgerError`], when counters cannot be read or written.
    pub(crate) fn credit(&self, charges: &mut [Charge], amount: u64) -> Result<u64, LedgerError> {
        let now = self.now()?;
        Ok(self.local.credit(&*self.host, now, charges, amount)?)
    }

    /// Returns whether the largest counters are tracked.
    #[must_use]
    pub(crate) const fn tracks(&self) -> bool {
        self.top.is_some()
    }

    /// Returns the largest counters of a limit, the largest first, and the rate that says what they count; `None` if the
    /// limit is not tracked.
    ///
    /// # Errors
    /// [`LedgerError`], when shared data cannot be read.
    pub(crate) fn largest(
        &self,
        limit: LimitIndex,
    ) -> Result<Option<(RateIndex, Vec<TopCounter>)>, LedgerError> {
        let now = self.now()?;
        match &self.top {
            Some(top) => Ok(top.largest(now, limit)?),
            None => Ok(None),
        }
    }
}
