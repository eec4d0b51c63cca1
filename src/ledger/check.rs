//! The check of a request against all of its counters.

use super::admission::{Admission, Demands, RejectionDetails, Verdict};
use super::charge::{self, Charge, Rejection};
use super::error::LedgerError;
use super::pending::Check;
use super::store::Ledger;
use crate::host::Headers;
use filter_config::Exceeded;

/// The result of a check before the request's body is known.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a result is matched where it is returned, and is not kept"
)]
pub(crate) enum Precheck {
    /// No counter is known to be exhausted.
    Open,
    /// A counter is exhausted by the count of this Envoy: the rate limit service is authoritative.
    CallService,
    /// A counter is exhausted.
    Rejected(Rejection, RejectionDetails),
}

// === impl Ledger ===

impl Ledger {
    /// Checks whether one of the counters is exhausted, and reserves nothing. Only counters whose limit
    /// rejects count: the others may have room once the request has waited or was changed.
    ///
    /// # Errors
    /// [`LedgerError`], where the failure mode is to deny.
    pub(crate) fn precheck(&self, charges: &[Charge]) -> Result<Precheck, LedgerError> {
        let rejects = |charge: &&Charge| {
            charge.is_enforced && *self.policies.on_exceeded(charge.rate) == Exceeded::Deny
        };
        let mut checked: Vec<Charge> = charges.iter().filter(rejects).copied().collect();
        if checked.is_empty() {
            return Ok(Precheck::Open);
        }
        let now = self.host.now()?;
        let rejection = self.or_failure_mode(self.reserve(now, &mut checked))?;
        Ok(match rejection.flatten() {
            None => Precheck::Open,
            Some(Rejection { charge, .. })
                if self.service.is_some() && charge.is_counted_by_service() =>
            {
                // Not everything that is reserved here is reserved there: it may belong to requests
                // with a pending check.
                if charge.counter.standing.used >= charge.counter.limit {
                    Precheck::CallService
                } else {
                    Precheck::Open
                }
            }
            Some(rejection) => {
                let read = |charge: &Charge| {
                    let read = charge::find(&checked, charge.id());
                    read.copied().unwrap_or(*charge)
                };
                let details = RejectionDetails {
                    charges: charges.iter().map(read).collect(),
                    ..RejectionDetails::default()
                };
                Precheck::Rejected(rejection, details)
            }
        })
    }

    /// Checks a request against all of its counters and reserves what it demands, at all or at none.
    ///
    /// If there is a rate limit service, the check may be pending: `stream` then waits for the reply.
    /// Without a stream to wait, this Envoy's own count decides. `headers` are those of the request.
    ///
    /// # Errors
    /// [`LedgerError`], where the failure mode is to deny.
    pub(crate) fn check(
        &self,
        demands: Demands,
        headers: &Headers,
        stream: Option<u32>,
    ) -> Result<Check, LedgerError> {
        if let Some(service) = &self.service {
            return self.check_remote(service, demands, headers, stream);
        }
        let now = self.host.now()?;
        let (mut admission, values) = Admission::new(demands);
        admission.tracked = values;
        let (enforced, _) = admission.split_mut();
        match self.or_failure_mode(self.reserve(now, enforced))? {
            Some(None) => {}
            Some(Some(rejection)) => {
                let verdict = Verdict::rejected(rejection, admission.charges);
                return Ok(Check::Decided(verdict));
            }
            None => admission.failed_open = true,
        }
        self.reserve_all_reported(now, &mut admission);
        self.count_request(now, &mut admission);
        Ok(Check::Decided(Verdict::Admitted(admission)))
    }
}
