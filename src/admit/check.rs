//! The check of a request whose body is known as far as it ever will be.

use super::applicable::Applicable;
use super::error::AdmissionError;
use super::queue::Queue;
use super::reservation::{self, Expected};
use crate::attributes::Attributes;
use crate::host::Headers;
use crate::ledger::{Check, Demands, Ledger, LedgerError, Rejection, RejectionDetails, Verdict};
use crate::policies::Policies;
use crate::telemetry::Telemetry;
use limits::Timestamp;
use std::cell::RefCell;

/// Returns what a request demands of the limits that apply to it: its expected cost at all of its counters.
///
/// It evaluates expressions, which a request pays for once: a queued request is checked again with what it
/// demanded at first.
///
/// # Errors
/// [`AdmissionError`], where the failure mode is to deny; where it is to allow, the limit in question
/// is left out.
pub(crate) fn demands(
    policies: &Policies,
    telemetry: &Telemetry,
    attributes: &mut Attributes,
    applicable: Applicable,
    expected: &Expected<'_>,
) -> Result<Demands, AdmissionError> {
    let mut demands = Demands {
        charges: Vec::with_capacity(applicable.charges.len()),
        values: applicable.values,
        failed_open: applicable.failed_open,
    };
    for charge in applicable.charges {
        let failed_open = &mut demands.failed_open;
        let charge = reservation::reserve(
            policies,
            telemetry,
            attributes,
            charge,
            expected,
            failed_open,
        )?;
        demands.charges.extend(charge);
    }
    Ok(demands)
}

/// Checks a request: reserves what it demands at all of its counters, or rejects it. A request that comes to
/// a counter at which others are queued is rejected, so that it is queued behind them. `stream` can wait for a
/// rate limit service, or in a queue; `headers` are those of the request.
///
/// # Errors
/// [`LedgerError`], where the failure mode is to deny.
pub(crate) fn check(
    ledger: &Ledger,
    queue: &RefCell<Queue>,
    headers: &Headers,
    demands: Demands,
    stream: Option<u32>,
) -> Result<Check, LedgerError> {
    if let Some(rejection) = behind_queue(ledger, &queue.borrow(), &demands, stream)? {
        let details = RejectionDetails {
            charges: demands.charges,
            ..RejectionDetails::default()
        };
        let verdict = Verdict::Rejected(rejection, details);
        return Ok(Check::Decided(verdict));
    }
    ledger.check(demands, headers, stream)
}

/// Returns the rejection of a request that comes to a counter at which others are queued.
fn behind_queue(
    ledger: &Ledger,
    queue: &Queue,
    demands: &Demands,
    stream: Option<u32>,
) -> Result<Option<Rejection>, LedgerError> {
    if queue.is_empty() {
        return Ok(None);
    }
    let now: Timestamp = ledger.now()?;
    let mut enforced = demands.charges.iter().filter(|charge| charge.is_enforced);
    Ok(enforced.find_map(|&charge| {
        let mut charge = charge;
        charge.counter.standing = queue.ahead(charge.id(), stream)?;
        Some(Rejection { charge, now })
    }))
}
