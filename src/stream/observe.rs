//! What is told of an exchange: filter state for access logs, metrics, lines in the log.

use super::Stream;
use crate::admit::{self, Denial};
use crate::attributes::Attributes;
use crate::host::Host;
use crate::plugin::{Counts, Decision, MINUTE, Plugin};
use filter_config::Usd;

/// Tells what became of an exchange, once, at its end.
pub(super) fn observe(stream: &Stream) {
    let plugin = &*stream.plugin;
    let host = &*plugin.host;
    let Some(decision) = stream.decision else {
        return;
    };
    plugin.metrics.decided(host, decision, stream.decided_by);
    if plugin.metrics.occupied(host, plugin.storage.occupancy()) {
        plugin.warn_of_full_pages();
    }
    set(host, "tollgate.decision", decision.name().as_bytes());
    if decision == Decision::Unmatched && stream.reading.is_none() {
        return;
    }
    let limit = stream.decided_by.and_then(|(policy, limit)| {
        let policy = plugin.configuration.policies.get(policy)?;
        policy.limits.get(limit)
    });
    if let Some(limit) = limit {
        set(host, "tollgate.limit", limit.name.as_bytes());
    }
    if let Some(reading) = &stream.reading {
        let usage = &reading.usage;
        let mut number = itoa::Buffer::new();
        for (key, tokens) in [
            ("tollgate.input_tokens", usage.input_tokens),
            ("tollgate.output_tokens", usage.output_tokens),
            ("tollgate.total_tokens", usage.total_tokens),
            ("tollgate.cached_tokens", usage.cached_tokens),
        ] {
            set(host, key, number.format(tokens).as_bytes());
        }
        let estimated = if reading.estimated { "true" } else { "false" };
        set(host, "tollgate.estimated", estimated.as_bytes());
    }
    if let Some(usd) = stream.usd {
        set(host, "tollgate.usd", usd.to_string().as_bytes());
    }
    let asked = || stream.taken()?.model.as_deref();
    if let Some(model) = stream.model.as_deref().or_else(asked) {
        set(host, "tollgate.model", model.as_bytes());
    }
    if let Some(target) = &stream.target {
        set(host, "tollgate.provider", target.provider.as_bytes());
    }
}

// === impl Stream ===

impl Stream {
    /// Tells in the metrics what the exchange holds of each limit's tokens, once with 1 as the sign and once with -1. Of
    /// several rates of a limit, which hold the same, the first is told of.
    pub(super) fn tell_held(&self, sign: i64) {
        let plugin = &*self.plugin;
        for charge in &self.admission.charges {
            if let Some(rate) = plugin.rates.get(charge.rate)
                && rate.counts == Counts::Tokens(0)
                && charge.hold > 0
            {
                let tokens = i64::try_from(charge.hold).unwrap_or(i64::MAX);
                let tokens = tokens.saturating_mul(sign);
                let host = &*plugin.host;
                plugin.metrics.held(host, rate.policy, rate.limit, tokens);
            }
        }
    }
}

fn set(host: &dyn Host, key: &str, value: &[u8]) {
    // What cannot be written is missing from the access log, where it is seen to be.
    let _ = host.set_filter_state(key, value);
}

/// Logs a refusal: which limit refused whom and why, the first time in a counter's window; where
/// only requests in flight are in the way, the first time in a minute.
pub(super) fn log_denial(plugin: &Plugin, denial: &Denial, attributes: &mut Attributes) {
    let Denial {
        charge,
        standing,
        now,
    } = denial;
    let until = standing.resets_at.as_u64().max(now.saturating_add(MINUTE));
    let mut announced = plugin.announced.borrow_mut();
    if !announced.first(charge.rate, charge.key, *now, until) {
        return;
    }
    let Some(rate) = plugin.rates.get(charge.rate) else {
        return;
    };
    let Some((policy, limit)) = plugin.limit_of(rate) else {
        return;
    };
    let amount = |amount: u64| match rate.counts {
        Counts::Usd(_) => Usd(amount).to_string(),
        _ => amount.to_string(),
    };
    let held = if standing.is_only_reserved() {
        "; requests that are still under way hold it, and it may be tried again shortly"
    } else {
        ""
    };
    log::info!(
        "policy {}: limit {} refuses {}: {} used and {} held of {} {}{held}",
        policy.name,
        limit.name,
        admit::caller(plugin, attributes, limit),
        amount(standing.used),
        amount(standing.reserved),
        amount(standing.limit),
        rate.counts.unit(),
    );
}
