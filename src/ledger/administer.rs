//! Counters that are read without a request, and usage that is taken back.

use super::charge::Charge;
use super::error::LedgerError;
use super::store::Ledger;

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
}
