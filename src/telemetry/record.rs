//! The record of an exchange, as access logs and metrics have it.

use super::applied::AppliedLimit;
use super::metrics::{Decision, FailedPart};
use filter_config::{LimitIndex, Usd};
use limits::Nanos;
use usage_meter::Usage;

/// What became of an exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExchangeRecord<'a> {
    /// The decision.
    pub(crate) decision: Decision,
    /// The limit that decided.
    pub(crate) limit: Option<LimitIndex>,
    /// The part that failed, if the decision is `failed`.
    pub(crate) failed: FailedPart,
    /// The usage that was charged.
    pub(crate) usage: Option<Usage>,
    /// Whether the usage is an estimate.
    pub(crate) is_estimated: bool,
    /// The cost of the usage, where there are prices.
    pub(crate) usd: Option<Usd>,
    /// The model that answered or, of a fallback or a rejection, the one that was requested.
    pub(crate) model: Option<&'a str>,
    /// The model that the request named, if it is another.
    pub(crate) requested_model: Option<&'a str>,
    /// The provider of the API that was called.
    pub(crate) provider: Option<&'static str>,
    /// The limits that applied, where they are to be reported.
    pub(crate) applied: &'a [AppliedLimit],
    /// Why it was rejected, could not be decided on, or is not limited, where that is to be reported.
    pub(crate) reason: Option<&'a str>,
    /// How long it was queued.
    pub(crate) queued: Option<Nanos>,
}
