//! `X-Budget-*`: what is left of a budget, in US dollars.

use crate::plugin::{Charge, Counts, Plugin};
use crate::storage::Standing;
use filter_config::Usd;

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// The headers of a budget.
pub(super) struct Budget {
    limit: String,
    used: String,
    remaining: String,
    reset: String,
}

// === impl Budget ===

impl Budget {
    /// The budget among those of an exchange with the least left, if it has any. What requests in flight
    /// hold is not used yet, nor is it left.
    pub(super) fn of(plugin: &Plugin, charges: &[Charge], standings: &[Standing]) -> Option<Self> {
        let budgets = charges.iter().zip(standings).filter(|(charge, _)| {
            let rate = plugin.rates.get(charge.rate);
            let limit = rate.and_then(|rate| plugin.limit_of(rate));
            rate.is_some_and(|rate| matches!(rate.counts, Counts::Usd(_)))
                && limit.is_some_and(|(_, limit)| !limit.shadow)
        });
        let (_, standing) = budgets.min_by_key(|(_, standing)| standing.remaining())?;
        Some(Self {
            limit: Usd(standing.limit).to_string(),
            used: Usd(standing.used).to_string(),
            remaining: Usd(standing.remaining()).to_string(),
            reset: standing.resets_at.div_ceil(SECOND).to_string(),
        })
    }

    /// Names and values. The reset is a time, in seconds since the epoch.
    pub(super) fn pairs(&self) -> [(&'static str, &[u8]); 4] {
        [
            ("x-budget-limit", self.limit.as_bytes()),
            ("x-budget-used", self.used.as_bytes()),
            ("x-budget-remaining", self.remaining.as_bytes()),
            ("x-budget-reset", self.reset.as_bytes()),
        ]
    }
}
