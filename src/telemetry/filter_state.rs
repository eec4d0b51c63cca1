//! Filter state: what access logs and other filters read of an exchange.

use super::Telemetry;
use super::metrics::Decision;
use super::record::ExchangeRecord;
use crate::policies::Policies;

/// The filter state that Envoy's own rate limit filter adds for an exchange.
const HITS_ADDEND: &str = "envoy.ratelimit.hits_addend";

/// The most that Envoy's rate limit filter adds.
const MAX_HITS: u64 = 1_000_000_000;

// === impl Telemetry ===

impl Telemetry {
    /// Reports an exchange, once, at its end.
    pub(crate) fn exchange(&self, policies: &Policies, record: &ExchangeRecord<'_>) {
        let ExchangeRecord {
            decision, limit, ..
        } = *record;
        self.metrics.decision(&*self.host, decision, limit);
        self.set("tollgate.decision", decision.name().as_bytes());
        if decision == Decision::Unmatched && record.usage.is_none() {
            return;
        }
        if let Some(limit) = limit.and_then(|limit| policies.limit(limit)) {
            self.set("tollgate.limit", limit.limit.name.as_bytes());
        }
        if let Some(usage) = &record.usage {
            let mut number = itoa::Buffer::new();
            for (key, tokens) in [
                ("tollgate.input_tokens", usage.input_tokens),
                ("tollgate.output_tokens", usage.output_tokens),
                ("tollgate.total_tokens", usage.total_tokens),
                ("tollgate.cached_tokens", usage.cached_tokens),
            ] {
                self.set(key, number.format(tokens).as_bytes());
            }
            let estimated = if record.is_estimated { "true" } else { "false" };
            self.set("tollgate.estimated", estimated.as_bytes());
        }
        if let Some(usd) = record.usd {
            self.set("tollgate.usd", usd.to_string().as_bytes());
        }
        if let Some(model) = record.model {
            self.set("tollgate.model", model.as_bytes());
        }
        if let Some(provider) = record.provider {
            self.set("tollgate.provider", provider.as_bytes());
        }
    }

    /// Reports an exported cost, by its position in `export`.
    pub(crate) fn exported_cost(&self, policies: &Policies, export: usize, cost: u64) {
        let mut number = itoa::Buffer::new();
        if let Some(key) = self.export_keys.get(export) {
            self.set(key, number.format(cost).as_bytes());
        }
        if policies.configuration().hits_addend == Some(export) {
            let hits = number.format(cost.min(MAX_HITS)).as_bytes();
            if let Err(error) = self.host.set_envoy_filter_state(HITS_ADDEND, hits) {
                Self::host_call_failed(HITS_ADDEND, error);
            }
        }
    }

    fn set(&self, key: &str, value: &[u8]) {
        // A value that cannot be written is missing from the access log, where this is visible.
        let _ = self.host.set_filter_state(key, value);
    }
}
