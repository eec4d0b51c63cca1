//! The check of a request whose body is known as far as it ever will be.

use super::applicable::Applicable;
use super::error::AdmissionError;
use super::queue::Queue;
use super::reservation::{self, Expected};
use crate::attributes::Attributes;
use crate::ledger::{Check, Claims, Ledger, LedgerError, Rejection, ResponseHeaders, Verdict};
use crate::policies::Policies;
use crate::telemetry::Telemetry;
use limits::Timestamp;
use std::cell::RefCell;

/// A request to check.
#[derive(Debug)]
pub(crate) struct CheckInput<'a> {
    /// The limits that apply to it.
    pub(crate) applicable: Applicable,
    /// Its expected usage.
    pub(crate) expected: Expected<'a>,
    /// The stream that can wait for a rate limit service, or in a queue.
    pub(crate) stream: Option<u32>,
}

/// Checks a request: reserves its expected cost at all of its counters, or rejects it. A request that
/// comes to a counter at which others are queued is rejected, so that it is queued behind them.
///
/// # Errors
/// [`AdmissionError`], where the failure mode is to deny; where it is to allow, the limit in question
/// is left out.
pub(crate) fn check(
    policies: &Policies,
    ledger: &Ledger,
    telemetry: &Telemetry,
    queue: &RefCell<Queue>,
    attributes: &mut Attributes,
    input: CheckInput<'_>,
) -> Result<Check, AdmissionError> {
    let CheckInput {
        applicable,
        expected,
        stream,
    } = input;
    let mut claims = Claims {
        charges: Vec::with_capacity(applicable.charges.len()),
        values: applicable.values,
        failed_open: applicable.failed_open,
    };
    for charge in applicable.charges {
        let failed_open = &mut claims.failed_open;
        let charge = reservation::reserve(
            policies,
            telemetry,
            attributes,
            charge,
            &expected,
            failed_open,
        )?;
        claims.charges.extend(charge);
    }
    if let Some(rejection) = behind_queue(ledger, &queue.borrow(), &claims, stream)? {
        let verdict = Verdict::Rejected(rejection, ResponseHeaders::new());
        return Ok(Check::Decided(verdict));
    }
    Ok(ledger.check(claims, attributes.headers(), stream)?)
}

/// Returns the rejection of a request that comes to a counter at which others are queued.
fn behind_queue(
    ledger: &Ledger,
    queue: &Queue,
    claims: &Claims,
    stream: Option<u32>,
) -> Result<Option<Rejection>, LedgerError> {
    if queue.is_empty() {
        return Ok(None);
    }
    let now: Timestamp = ledger.now()?;
    let mut enforced = claims.charges.iter().filter(|charge| charge.is_enforced);
    Ok(enforced.find_map(|&charge| {
        let mut charge = charge;
        charge.counter.standing = queue.ahead(charge.id(), stream)?;
        Some(Rejection { charge, now })
    }))
}
