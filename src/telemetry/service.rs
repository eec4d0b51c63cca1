//! The metrics of a rate limit service: `wasmcustom.tollgate.storage_*`.

use super::gauges;
use crate::host::{Host, MetricId, MetricKind, Result};
use limits::service::{Observer, ServiceEvent};
use std::cell::Cell;
use std::rc::Rc;

/// The metrics of a rate limit service, each defined once.
pub(crate) struct ServiceMetrics {
    host: Rc<dyn Host>,
    calls: MetricId,
    call_errors: MetricId,
    calls_saturated: MetricId,
    outages: MetricId,
    settlements_retried: MetricId,
    settlements_merged: MetricId,
    tokens_lost: MetricId,
    lease_admissions: MetricId,
    /// The tokens of the slices that workers have reserved.
    tokens_leased: MetricId,
    /// The number of workers whose circuit is open.
    circuit_open: MetricId,
    settlements_pending: MetricId,
    /// The number of settlements that were pending when it was reported last.
    pending: Cell<usize>,
    /// The leased tokens that were reported last.
    leased: Cell<u64>,
    /// Whether the circuit is open.
    is_open: Cell<bool>,
}

// === impl ServiceMetrics ===

impl ServiceMetrics {
    /// Defines the metrics.
    ///
    /// # Errors
    /// Whatever Envoy answers; none is expected.
    pub(crate) fn define(host: Rc<dyn Host>) -> Result<Self> {
        let counter = |name| host.define_metric(MetricKind::Counter, name);
        let gauge = |name| host.define_metric(MetricKind::Gauge, name);
        Ok(Self {
            calls: counter("tollgate.storage_calls")?,
            call_errors: counter("tollgate.storage_call_errors")?,
            calls_saturated: counter("tollgate.storage_calls_saturated")?,
            outages: counter("tollgate.storage_outages")?,
            settlements_retried: counter("tollgate.storage_settlements_retried")?,
            settlements_merged: counter("tollgate.storage_settlements_merged")?,
            tokens_lost: counter("tollgate.storage_tokens_lost")?,
            lease_admissions: counter("tollgate.storage_lease_admissions")?,
            tokens_leased: gauge("tollgate.storage_tokens_leased")?,
            circuit_open: gauge("tollgate.storage_circuit_open")?,
            settlements_pending: gauge("tollgate.storage_settlements_pending")?,
            pending: Cell::new(0),
            leased: Cell::new(0),
            is_open: Cell::new(false),
            host,
        })
    }

    fn set_pending(&self, pending: usize) {
        let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let before = self.pending.replace(pending);
        let more = whole(pending).saturating_sub(whole(before));
        if more != 0 {
            gauges::add(&*self.host, self.settlements_pending, more);
        }
    }

    fn set_leased(&self, leased: u64) {
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let before = self.leased.replace(leased);
        let more = whole(leased).saturating_sub(whole(before));
        if more != 0 {
            gauges::add(&*self.host, self.tokens_leased, more);
        }
    }

    fn set_open(&self, is_open: bool) {
        if self.is_open.replace(is_open) != is_open {
            // It changes seldom, and operators act on it.
            let change = if is_open { 1 } else { -1 };
            gauges::write(&*self.host, self.circuit_open, change);
        }
    }

    fn add(&self, metric: MetricId, amount: i64) {
        self.host.add_to_metric(metric, amount);
    }
}

impl Observer for ServiceMetrics {
    fn observe(&self, event: ServiceEvent) {
        let whole = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
        match event {
            ServiceEvent::Call => self.add(self.calls, 1),
            ServiceEvent::CallFailed => self.add(self.call_errors, 1),
            ServiceEvent::CallSaturated => self.add(self.calls_saturated, 1),
            ServiceEvent::CircuitOpened => {
                self.add(self.outages, 1);
                self.set_open(true);
            }
            ServiceEvent::CircuitClosed => self.set_open(false),
            ServiceEvent::SettlementRetried => self.add(self.settlements_retried, 1),
            ServiceEvent::SettlementMerged => self.add(self.settlements_merged, 1),
            ServiceEvent::SettlementLost { amount } => self.add(self.tokens_lost, whole(amount)),
            ServiceEvent::LeaseAdmission => self.add(self.lease_admissions, 1),
            ServiceEvent::TokensLeased(tokens) => self.set_leased(tokens),
            ServiceEvent::SettlementsPending(pending) => self.set_pending(pending),
        }
    }
}

/// What a configuration has added to gauges ends with it, or they would stay too high until Envoy restarts.
impl Drop for ServiceMetrics {
    fn drop(&mut self) {
        self.set_pending(0);
        self.set_leased(0);
        self.set_open(false);
    }
}
