//! What Envoy counts of a rate limit service: `wasmcustom.tollgate.storage_*`.

use super::queue::Queue;
use crate::host::{Host, MetricId, MetricKind, Result};
use std::cell::Cell;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// A call was made.
    Calls,
    /// A call has failed.
    Errors,
    /// The service was taken to be away.
    Outages,
    /// A settlement has failed, and will be sent again.
    Retries,
    /// A settlement was charged to another of the same limits, as too many waited.
    Merged,
    /// Tokens of settlements that were given up.
    Lost,
}

impl Count {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Calls, "tollgate.storage_calls"),
        (Self::Errors, "tollgate.storage_call_errors"),
        (Self::Outages, "tollgate.storage_outages"),
        (Self::Retries, "tollgate.storage_settlements_retried"),
        (Self::Merged, "tollgate.storage_settlements_merged"),
        (Self::Lost, "tollgate.storage_tokens_lost"),
    ];
}

/// The metrics, each defined once.
#[derive(Debug)]
pub struct Metrics {
    counts: [(MetricId, Cell<u64>); Count::ALL.len()],
    away: MetricId,
    waiting: MetricId,
    /// How many waited when it was told last.
    told: Cell<i64>,
}

// === impl Metrics ===

impl Metrics {
    /// Defines the metrics.
    ///
    /// # Errors
    /// Whatever Envoy answers; none is expected.
    pub fn define(host: &dyn Host) -> Result<Self> {
        let mut counts = Count::ALL.map(|_| (MetricId(0), Cell::new(0)));
        for ((id, _), (_, name)) in counts.iter_mut().zip(Count::ALL) {
            *id = host.define_metric(MetricKind::Counter, name)?;
        }
        Ok(Self {
            counts,
            away: host.define_metric(MetricKind::Gauge, "tollgate.storage_away")?,
            waiting: host
                .define_metric(MetricKind::Gauge, "tollgate.storage_settlements_waiting")?,
            told: Cell::new(0),
        })
    }

    /// Counts, and returns how often this worker has done so before.
    pub fn count(&self, host: &dyn Host, count: Count, amount: i64) -> u64 {
        let Some((id, times)) = self.counts.get(count as usize) else {
            return 0;
        };
        // A metric that cannot be written has nowhere to be reported.
        let _ = host.add_to_metric(*id, amount);
        times.replace(times.get().saturating_add(1))
    }

    /// Tells that a worker more, or less, takes the service to be away.
    pub fn away(&self, host: &dyn Host, workers: i64) {
        let _ = host.add_to_metric(self.away, workers);
    }

    /// Tells how many settlements wait.
    pub fn waiting(&self, host: &dyn Host, queue: &Queue) {
        let now = i64::try_from(queue.len()).unwrap_or(i64::MAX);
        let more = now.saturating_sub(self.told.replace(now));
        if more != 0 {
            let _ = host.add_to_metric(self.waiting, more);
        }
    }
}
