//! The audit of administration: a log line for each counter that is read or changed, and for attempts.

use super::Telemetry;
use super::log_dedup::LogKey;
use super::log_value::Quoted;
use limits::Nanos;

// === impl Telemetry ===

impl Telemetry {
    /// Logs that a counter of a limit, whose policy is named first, was read or changed by an administrator.
    pub(crate) fn administered(
        action: &str,
        [policy, limit]: [&str; 2],
        key: u128,
        granted: &str,
        by: &str,
    ) {
        let [policy, limit, granted, by] = [policy, limit, granted, by].map(Quoted);
        log::info!(
            "counter_administered action={action} policy={policy} limit={limit} counter={:016x} granted={granted} by={by}",
            key >> 64
        );
    }

    /// Logs that a request was not allowed to administer counters: a line a minute for each action.
    pub(crate) fn administration_rejected(&self, action: &str) {
        let key = LogKey::Path(String::new(), format!("admin {action}"));
        if self.is_due(key, Nanos::MINUTE) {
            log::warn!("administration_rejected action={action}");
        }
    }
}
