//! Filter state: what access logs and other filters read of an exchange.

use super::Telemetry;
use super::metrics::Decision;
use super::record::ExchangeRecord;
use super::record_struct::{RECORD, RecordStruct};
use crate::policies::Policies;

/// The filter state that Envoy's own rate limit filter adds for an exchange.
const HITS_ADDEND: &str = "envoy.ratelimit.hits_addend";

/// The most that Envoy's rate limit filter adds.
const MAX_HITS: u64 = 1_000_000_000;

/// A value of an exchange.
enum Value<'a> {
    Text(&'a str),
    Number(u64),
    Boolean(bool),
}

// === impl Telemetry ===

impl Telemetry {
    /// Reports an exchange, once, at its end.
    pub(crate) fn exchange(&self, policies: &Policies, record: &ExchangeRecord<'_>) {
        let ExchangeRecord {
            decision, limit, ..
        } = *record;
        self.metrics.decision(&*self.host, decision, limit);
        if self.access_log.has_keys() {
            let mut key = String::with_capacity(32);
            let mut number = itoa::Buffer::new();
            each_value(policies, record, |name, value| {
                key.clear();
                key.extend([RECORD, ".", name]);
                let text = match value {
                    Value::Text(text) => text,
                    Value::Number(value) => number.format(value),
                    Value::Boolean(true) => "true",
                    Value::Boolean(false) => "false",
                };
                self.set(&key, text.as_bytes());
            });
        }
        if self.access_log.has_record() {
            let mut fields = RecordStruct::new();
            each_value(policies, record, |name, value| match value {
                Value::Text(text) => fields.text(name, text),
                Value::Number(number) => fields.number(name, number),
                Value::Boolean(value) => fields.boolean(name, value),
            });
            self.set(RECORD, fields.as_bytes());
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

/// Passes the values of an exchange to `write`, by their names.
fn each_value(
    policies: &Policies,
    record: &ExchangeRecord<'_>,
    mut write: impl FnMut(&str, Value<'_>),
) {
    let ExchangeRecord {
        decision, limit, ..
    } = *record;
    write("decision", Value::Text(decision.name()));
    if decision == Decision::Unmatched && record.usage.is_none() {
        return;
    }
    if let Some(limit) = limit.and_then(|limit| policies.limit(limit)) {
        write("limit", Value::Text(&limit.limit.name));
    }
    if let Some(usage) = &record.usage {
        for (name, tokens) in [
            ("input_tokens", usage.input_tokens),
            ("output_tokens", usage.output_tokens),
            ("total_tokens", usage.total_tokens),
            ("cached_tokens", usage.cached_tokens),
        ] {
            write(name, Value::Number(tokens));
        }
        write("estimated", Value::Boolean(record.is_estimated));
    }
    if let Some(usd) = record.usd {
        write("usd", Value::Text(&usd.to_string()));
    }
    if let Some(model) = record.model {
        write("model", Value::Text(model));
    }
    if let Some(provider) = record.provider {
        write("provider", Value::Text(provider));
    }
}
