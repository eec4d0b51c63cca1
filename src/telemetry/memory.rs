//! What the worker has allocated, and what there was no memory for.

use super::Telemetry;
use super::log_dedup::LogKey;
use super::memory_gauge;
use super::metrics::Count;
use crate::memory::{Budget, Need, allocated};
use limits::Nanos;

// === impl Telemetry ===

impl Telemetry {
    /// Reports what the worker has allocated.
    pub(crate) fn memory(&self) {
        memory_gauge::update(&*self.host);
    }

    /// Counts and logs that there was no memory for so many bytes of a need, with the bytes that were left for it: a line
    /// a minute for each, by each worker.
    #[cold]
    pub(crate) fn memory_exhausted(&self, need: Need, needed: usize, left: usize, budget: Budget) {
        if need != Need::Request {
            self.count(Count::MemoryShortages);
        }
        if self.is_due(LogKey::Memory(need), Nanos::MINUTE) {
            log::warn!(
                "memory_exhausted part={} needed={needed} left={left} allocated={} budget={} msg=\"raise memory.perWorker, or limit streams and connections in Envoy\"",
                need.name(),
                allocated(),
                budget.bytes(),
            );
        }
    }
}
