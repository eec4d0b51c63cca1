//! Changes of metrics that Envoy does not know yet.

#[cfg(test)]
mod tests;

use super::{MetricId, Result};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Changes of metrics, summed until they are flushed: a call to Envoy costs more than an addition, and what a
/// request adds to a gauge it soon subtracts again.
///
/// It has only what has changed since it was flushed: of thousands of metrics, few change in a second, and those of
/// replaced configurations do not change again.
#[derive(Debug)]
pub(super) struct MetricBatch {
    /// What is to be added, by the metric's identifier.
    changes: RefCell<BTreeMap<u32, i64>>,
}

// === impl MetricBatch ===

impl MetricBatch {
    /// Returns a batch without changes.
    pub(super) const fn new() -> Self {
        Self {
            changes: RefCell::new(BTreeMap::new()),
        }
    }

    /// Adds an amount to a metric.
    pub(super) fn add(&self, metric: MetricId, amount: i64) {
        // It is borrowed only while a callback that failed for lack of memory ends.
        if let Ok(mut changes) = self.changes.try_borrow_mut() {
            let change = changes.entry(metric.0).or_default();
            *change = change.saturating_add(amount);
        }
    }

    /// Passes every change to `write`, those of the metrics that were defined first at the end: once Envoy shows the
    /// decisions on exchanges, it shows all else of them. It does not allocate.
    pub(super) fn flush(&self, write: impl Fn(MetricId, i64) -> Result<()>) {
        let Ok(mut changes) = self.changes.try_borrow_mut() else {
            return;
        };
        while let Some((metric, change)) = changes.pop_last() {
            if change != 0 {
                // A metric that cannot be written has nowhere to be reported.
                let _ = write(MetricId(metric), change);
            }
        }
    }
}

impl Default for MetricBatch {
    fn default() -> Self {
        Self::new()
    }
}
