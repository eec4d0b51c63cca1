//! Admission: which limits apply to a request, what it is expected to cost, and whether it fits.
//!
//! [`applicable`] finds the limits that apply and the counters that they count in. [`demands`] computes
//! the expected cost at each; [`check`] reserves it in the ledger, behind requests that are queued already, and
//! admits or rejects.

pub(crate) mod applicable;
mod check;
mod computed;
mod error;
mod misses;
mod overview;
pub(crate) mod queue;
mod reservation;
#[cfg(test)]
mod tests;

pub(crate) use applicable::{Applicable, applicable};
pub(crate) use check::{check, demands};
pub(crate) use error::{AdmissionError, Unbounded, or_open};
pub(crate) use misses::Misses;
pub(crate) use overview::overview;
pub(crate) use queue::{Arrival, Place, Queue, QueuePoll};
pub(crate) use reservation::Expected;
