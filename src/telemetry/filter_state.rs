//! Filter state: what access logs and other filters read of an exchange.

use super::Telemetry;
use super::applied::{self, AppliedLimit, MAX_LISTED};
use super::metrics::Decision;
use super::record::ExchangeRecord;
use super::record_struct::{RECORD, RecordStruct};
use crate::policies::Policies;
use limits::Nanos;

/// The filter state that Envoy's own rate limit filter adds for an exchange.
const HITS_ADDEND: &str = "envoy.ratelimit.hits_addend";

/// The most that Envoy's rate limit filter adds.
const MAX_HITS: u64 = 1_000_000_000;

/// A value of an exchange.
enum Value<'a> {
    Text(&'a str),
    Number(u64),
    Boolean(bool),
    Limits(&'a [AppliedLimit]),
}

// === impl Telemetry ===

impl Telemetry {
    /// Reports an exchange, once, at its end.
    pub(crate) fn exchange(&self, policies: &Policies, record: &ExchangeRecord<'_>) {
        let ExchangeRecord {
            decision, limit, ..
        } = *record;
        self.metrics
            .decision(&*self.host, decision, limit, record.failed);
        if self.access_log.has_keys() {
            let mut key = String::with_capacity(32);
            let mut number = itoa::Buffer::new();
            each_value(policies, record, |name, value| {
                if !is_key(record, name) {
                    return;
                }
                key.clear();
                key.extend([RECORD, ".", name]);
                let listed;
                let text = match value {
                    Value::Text(text) => text,
                    Value::Number(value) => number.format(value),
                    Value::Boolean(true) => "true",
                    Value::Boolean(false) => "false",
                    Value::Limits(limits) => {
                        listed = applied::list(policies, limits);
                        &listed
                    }
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
                Value::Limits(limits) => {
                    let listed = limits.iter().take(MAX_LISTED);
                    fields.list(name, listed, |limit, fields| limit.record(policies, fields));
                }
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

    /// Returns whether the limits that applied to an exchange with a decision are reported.
    #[must_use]
    pub(crate) fn reports_limits(&self, decision: Decision) -> bool {
        self.access_log.has_record() || !decision.is_usual()
    }

    /// Returns whether it is reported why no limit applies to an exchange, which is or is not with the API of a provider.
    #[must_use]
    pub(crate) fn reports_unmatched(&self, is_known_api: bool) -> bool {
        self.access_log.has_record() || is_known_api
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
    if let Some(reason) = record.reason {
        write("reason", Value::Text(reason));
    }
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
    if let Some(model) = record.requested_model {
        write("requested_model", Value::Text(model));
    }
    if let Some(provider) = record.provider {
        write("provider", Value::Text(provider));
    }
    if let Some(queued) = record.queued {
        let milliseconds = queued.as_u64().div_euclid(Nanos::MILLISECOND.as_u64());
        write("queue_ms", Value::Number(milliseconds));
    }
    if !record.applied.is_empty() {
        write("limits", Value::Limits(record.applied));
    }
}

/// Returns whether a value has a key of its own. Each takes a call to Envoy: those that an exchange has that is admitted as
/// usual, or that concerns no model, have been kept few.
fn is_key(record: &ExchangeRecord<'_>, name: &str) -> bool {
    match name {
        "limits" | "requested_model" => !record.decision.is_usual(),
        "reason" => record.decision != Decision::Unmatched || record.provider.is_some(),
        _ => true,
    }
}
