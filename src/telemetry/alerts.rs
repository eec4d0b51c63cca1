//! Rejections and alerts: a log line each, and a metric.

use super::Telemetry;
use super::log_dedup::LogKey;
use super::log_value::Quoted;
use crate::attributes::Attributes;
use crate::policies::{Policies, RateIndex, Unit};
use limits::{Nanos, Standing, Timestamp};

// === impl Telemetry ===

impl Telemetry {
    /// Logs a rejection: the first in a counter's window or, where only reservations of requests in
    /// flight are in the way, the first in a minute.
    pub(crate) fn limit_rejected(
        &self,
        policies: &Policies,
        attributes: &mut Attributes,
        (rate, key): (RateIndex, u128),
        standing: &Standing,
        now: Timestamp,
    ) {
        let until = standing.resets_at.max(now.saturating_add(Nanos::MINUTE));
        if !self.is_due_until(LogKey::Counter(rate, key), now, until) {
            return;
        }
        let Some((rate, policy, limit)) = policies.rate_of(rate) else {
            return;
        };
        let amount = |amount| rate.unit.amount(amount);
        let reason = if standing.is_only_reserved() {
            " msg=\"reserved by requests in flight, a retry may succeed shortly\""
        } else {
            ""
        };
        let caller = policies.describe_caller(attributes, limit);
        log::info!(
            "limit_rejected policy={} limit={} counter={} used={} reserved={} limit_value={} \
             unit={}{reason}",
            Quoted(&policy.name),
            Quoted(&limit.name),
            Quoted(&caller),
            amount(standing.used),
            amount(standing.reserved),
            amount(standing.limit),
            Quoted(rate.unit.name()),
        );
    }

    /// Raises an alert if a cost has taken a counter past its limit's `alertAt`.
    pub(crate) fn alert(
        &self,
        policies: &Policies,
        (rate, key): (RateIndex, u128),
        standing: &Standing,
        cost: u64,
    ) {
        let Some((rate, policy, limit)) = policies.rate_of(rate) else {
            return;
        };
        let threshold = rate.alert_threshold(standing.limit);
        if standing.used.saturating_sub(cost) >= threshold || standing.used < threshold {
            return;
        }
        self.metrics.alert(&*self.host, rate.limit);
        log::info!(
            "limit_alert policy={} limit={} counter={:016x} used={} limit_value={} unit={}",
            Quoted(&policy.name),
            Quoted(&limit.name),
            key >> 64,
            rate.unit.amount(standing.used),
            rate.unit.amount(standing.limit),
            Quoted(rate.unit.name()),
        );
    }

    /// Raises an alert about more requests in flight than a limit that only reports allows: the first
    /// time in a minute. What such a limit counts otherwise has its alert when it is used.
    pub(crate) fn alert_concurrency(
        &self,
        policies: &Policies,
        (index, key): (RateIndex, u128),
        standing: &Standing,
        now: Timestamp,
    ) {
        let Some((rate, policy, limit)) = policies.rate_of(index) else {
            return;
        };
        let until = now.saturating_add(Nanos::MINUTE);
        if rate.unit != Unit::InFlight
            || !self.is_due_until(LogKey::Counter(index, key), now, until)
        {
            return;
        }
        self.metrics.alert(&*self.host, rate.limit);
        log::info!(
            "concurrency_alert policy={} limit={} counter={:016x} limit_value={} unit={}",
            Quoted(&policy.name),
            Quoted(&limit.name),
            key >> 64,
            standing.limit,
            Quoted(rate.unit.name()),
        );
    }
}
