//! The ledger: counters in this Envoy's shared data and at a rate limit service, behind one interface.
//!
//! [`Ledger::precheck`] finds exhausted counters before the request's body is known.
//! [`Ledger::check`] admits a request and reserves its expected cost, all or nothing, or returns a
//! [`PendingCheck`] that waits for the service. [`Ledger::settle`] records the cost of an exchange and
//! releases its reservations; called early and again at the end, it corrects the cost.
//! [`Ledger::release`] only releases them.
//!
//! Beside a service, this Envoy keeps its own count of everything, as it would without one: what its
//! requests reserve, and what they have used. The service is authoritative on usage; this Envoy
//! decides how many of its own requests are admitted side by side where the service cannot reserve; and
//! while the service's circuit is open, its own count decides.

mod administer;
mod admission;
mod authority;
mod charge;
mod check;
mod decide;
mod defer;
mod deferred;
mod error;
mod groups;
mod pending;
mod remote;
mod service;
mod store;
#[cfg(test)]
mod tests;
mod top;
mod trace;

pub(crate) use admission::{
    Admission, CounterValues, Demands, RejectionDetails, ResponseHeaders, Verdict,
};
pub(crate) use charge::{Charge, CounterId, Rejection, Stage};
pub(crate) use check::Precheck;
pub(crate) use defer::DeferredLookup;
pub(crate) use deferred::DeferredCharge;
pub(crate) use error::LedgerError;
pub(crate) use pending::{Check, PendingCheck};
pub(crate) use store::Ledger;
