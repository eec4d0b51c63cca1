//! Telemetry: metrics, filter state for access logs, log lines and alerts.
//!
//! Nothing here decides anything. Log lines begin with an event name, followed by `key=value` pairs;
//! those that a caller can cause at will are deduplicated.

mod administration;
mod alerts;
mod applied;
mod filter_state;
mod gauges;
mod log_dedup;
mod log_value;
mod memory;
mod memory_gauge;
mod metrics;
mod record;
mod record_struct;
mod service;
#[cfg(test)]
mod tests;

use crate::host::{FilterState, Host, HostError};
use crate::policies::Unit;
use filter_config::{AccessLog, Configuration, LimitIndex, Usd, Warning};
use limits::{Nanos, Occupancy, Timestamp};
use log_dedup::{LogDedup, LogKey};
use metrics::Metrics;
use record_struct::RECORD;
use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;
use usage_meter::Usage;

pub(crate) use applied::AppliedLimit;
pub(crate) use log_value::{Quoted, cut};
pub(crate) use metrics::{Count, Decision, FailedPart};
pub(crate) use record::ExchangeRecord;
pub(crate) use service::ServiceMetrics;

/// Subtracts from the gauges what the worker has added, because its memory is about to be lost.
#[cfg(any(test, target_arch = "wasm32"))]
pub(crate) fn release_gauges(host: &dyn Host) {
    host.flush_metrics();
    memory_gauge::release(host);
    gauges::release(host);
}

/// The metrics, filter state and log lines of the filter.
pub(crate) struct Telemetry {
    host: Rc<dyn Host>,
    metrics: Metrics,
    /// The lines that were logged and are not to be repeated yet.
    logged: RefCell<LogDedup>,
    /// The filter state keys of the exported costs.
    export_keys: Vec<String>,
    /// The form of an exchange in filter state.
    access_log: AccessLog,
}

// === impl Telemetry ===

impl Telemetry {
    /// Defines the metrics of a configuration.
    ///
    /// # Errors
    /// Whatever Envoy answers; none is expected.
    pub(crate) fn define(
        host: Rc<dyn Host>,
        configuration: &Configuration,
    ) -> Result<Self, HostError> {
        let exports = configuration.exports.iter();
        memory_gauge::define(&*host)?;
        let mut access_log = configuration.access_log;
        if access_log.has_record()
            && let Err(error) = host.declare_filter_state(RECORD, FilterState::Record)
        {
            // Without its type, access logs could not read it.
            Self::host_call_failed("declare_property", error);
            access_log = AccessLog::Keys;
        }
        let export_keys = exports.map(|export| format!("tollgate.cost.{}", export.name));
        Ok(Self {
            metrics: Metrics::define(&*host, configuration)?,
            logged: RefCell::default(),
            export_keys: export_keys.collect(),
            access_log,
            host,
        })
    }

    /// Writes the metrics of all configurations to Envoy.
    pub(crate) fn flush(&self) {
        self.host.flush_metrics();
    }

    /// Counts an event.
    pub(crate) fn count(&self, count: Count) {
        self.count_times(count, 1);
    }

    /// Counts an event that has happened a number of times.
    pub(crate) fn count_times(&self, count: Count, times: usize) {
        if times > 0 {
            self.metrics.count(&*self.host, count, times);
        }
    }

    /// Counts the tokens of an exchange and, where there are prices, their cost.
    pub(crate) fn tokens(&self, model: Option<&str>, usage: &Usage, usd: Option<Usd>) {
        self.metrics.tokens(&*self.host, model, usage, usd);
    }

    /// Adds to the gauge of reserved tokens of a limit; a negative amount is subtracted.
    pub(crate) fn reserved(&self, limit: LimitIndex, tokens: i64) {
        self.metrics.reserved(&*self.host, limit, tokens);
    }

    /// Adds to the reserved tokens of a limit that this worker has to subtract from the gauge. With a negative amount,
    /// any worker may subtract them: they outlive the exchanges of this one.
    pub(crate) fn take_over_reserved(&self, limit: LimitIndex, tokens: i64) {
        self.metrics.take_over_reserved(limit, tokens);
    }

    /// Counts an exchange that a limit has admitted.
    pub(crate) fn limit_admitted(&self, limit: LimitIndex) {
        self.metrics.limit_admitted(&*self.host, limit);
    }

    /// Counts what an exchange has used of a limit, in the unit of one of its rates.
    pub(crate) fn limit_used(&self, limit: LimitIndex, unit: Unit, amount: u64) {
        self.metrics.limit_used(&*self.host, limit, unit, amount);
    }

    /// Counts a request that enters the queue.
    pub(crate) fn queued(&self) {
        self.metrics.queued(&*self.host, 1);
    }

    /// Counts a request that leaves the queue.
    pub(crate) fn dequeued(&self) {
        self.metrics.queued(&*self.host, -1);
    }

    /// Counts what the counters went through since the last call; evictions are logged once an hour.
    pub(crate) fn occupancy(&self, occupancy: Occupancy) {
        if self.metrics.occupancy(&*self.host, occupancy)
            && self.is_due(LogKey::Evictions, Nanos::HOUR)
        {
            log::warn!(
                "counters_evicted msg=\"counts may be overestimated, raise storage.maxCounters\""
            );
        }
    }

    /// Logs that a part of a policy could not be evaluated: a line a minute for each part, since a
    /// caller can cause as many as it likes.
    pub(crate) fn evaluation_failed(&self, policy: &str, path: &str, error: &dyn Display) {
        let key = LogKey::Path(policy.to_owned(), path.to_owned());
        if self.is_due(key, Nanos::MINUTE) {
            let error = error.to_string();
            let [policy, path, error] = [policy, path, &error].map(Quoted);
            log::warn!("evaluation_failed policy={policy} at={path} error={error}");
        }
    }

    /// Logs that a request has no identity that a part of a policy counts by: a line a minute for each part.
    pub(crate) fn request_unauthenticated(&self, policy: &str, path: &str) {
        let key = LogKey::Path(policy.to_owned(), path.to_owned());
        if self.is_due(key, Nanos::MINUTE) {
            let policy = Quoted(policy);
            log::warn!(
                "request_unauthenticated policy={policy} at={path} msg=\"auth has no value\""
            );
        }
    }

    /// Logs that a request was rejected because a rule of access does not allow its model: a line a minute for each rule.
    pub(crate) fn access_forbidden(&self, index: usize, model: &str) {
        let path = format!("access[{index}]");
        if self.is_due(LogKey::Path(String::new(), path), Nanos::MINUTE) {
            log::info!(
                "access_forbidden at=access[{index}] model={}",
                Quoted(model)
            );
        }
    }

    /// Logs that a request was rejected because its model has no price: a line a minute for each
    /// limit.
    pub(crate) fn model_unpriced(&self, policy: &str, limit: &str, model: &str) {
        let key = LogKey::Path(policy.to_owned(), limit.to_owned());
        if self.is_due(key, Nanos::MINUTE) {
            let [policy, limit, model] = [policy, limit, model].map(Quoted);
            log::warn!("model_unpriced policy={policy} limit={limit} model={model}");
        }
    }

    /// Logs that a request could not be decided on, for another reason than an expression: a line a
    /// minute for each kind of failure.
    pub(crate) fn admission_failed(&self, what: &'static str, error: &dyn Display) {
        if self.is_due(LogKey::Path(String::new(), what.to_owned()), Nanos::MINUTE) {
            let error = error.to_string();
            log::warn!("admission_failed part={what} error={}", Quoted(&error));
        }
    }

    /// Counts and logs that a response reported numbers of tokens that are not plausible: a line a minute for
    /// each model.
    pub(crate) fn usage_unreadable(&self, model: Option<&str>) {
        self.count(Count::UnreadableUsage);
        let model = model.unwrap_or_default();
        let key = LogKey::Path(String::new(), format!("usage_unreadable {model}"));
        if self.is_due(key, Nanos::MINUTE) {
            log::warn!(
                "usage_unreadable model={} msg=\"negative or above 2^40 tokens, estimated\"",
                Quoted(model)
            );
        }
    }

    /// Counts and logs that an upstream rejects requests for a usage report.
    pub(crate) fn include_usage_rejected(&self, cluster: &str, model: &str) {
        self.count(Count::IncludeUsageRejected);
        let [cluster, model] = [cluster, model].map(Quoted);
        log::warn!(
            "include_usage_rejected cluster={cluster} model={model} msg=\"stream_options are rejected, streams are estimated for an hour\""
        );
    }

    /// Logs that a part of a configuration has no effect.
    pub(crate) fn configuration_warning(warning: &Warning) {
        let (path, msg) = (warning.path(), warning.message());
        let [path, msg] = [path, &msg].map(Quoted);
        log::warn!("configuration_warning at={path} msg={msg}");
    }

    /// Logs that an exchange's usage could not be recorded.
    pub(crate) fn usage_not_recorded(tokens: u64, error: &dyn Display) {
        let error = error.to_string();
        log::error!(
            "usage_not_recorded tokens={tokens} error={}",
            Quoted(&error)
        );
    }

    /// Logs a host call that failed.
    pub(crate) fn host_call_failed(call: &str, error: HostError) {
        log::error!("host_call_failed call={} error=\"{error}\"", Quoted(call));
    }

    /// Returns whether a line is to be logged now; it is then suppressed for `period`.
    fn is_due(&self, key: LogKey, period: Nanos) -> bool {
        let now = self.host.now().unwrap_or_default();
        self.is_due_until(key, now, now.saturating_add(period))
    }

    /// Returns whether a line is to be logged now; it is then suppressed until a time.
    fn is_due_until(&self, key: LogKey, now: Timestamp, until: Timestamp) -> bool {
        self.logged.borrow_mut().insert(key, now, until)
    }
}
