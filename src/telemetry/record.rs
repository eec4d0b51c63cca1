//! The record of an exchange, as access logs and metrics have it.

use super::metrics::Decision;
use filter_config::{LimitIndex, Usd};
use usage_meter::Usage;

/// What became of an exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExchangeRecord<'a> {
    /// The decision.
    pub(crate) decision: Decision,
    /// The limit that decided.
    pub(crate) limit: Option<LimitIndex>,
    /// The usage that was charged.
    pub(crate) usage: Option<Usage>,
    /// Whether the usage is an estimate.
    pub(crate) is_estimated: bool,
    /// The cost of the usage, where there are prices.
    pub(crate) usd: Option<Usd>,
    /// The model that answered or, of a fallback or a rejection, the one that was requested.
    pub(crate) model: Option<&'a str>,
    /// The provider of the API that was called.
    pub(crate) provider: Option<&'static str>,
}
