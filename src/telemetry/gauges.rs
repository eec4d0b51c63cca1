//! What the worker has added to the gauges of the process, so that it is taken off when its memory is lost.

use crate::host::{Host, MetricId};
use std::cell::RefCell;
use std::collections::BTreeMap;

thread_local! {
    /// The sum for each gauge, under all configurations of the worker.
    static ADDED: RefCell<BTreeMap<u32, i64>> = const { RefCell::new(BTreeMap::new()) };
}

/// Adds to a gauge; a negative amount takes off.
pub(super) fn add(host: &dyn Host, gauge: MetricId, amount: i64) {
    // A metric that cannot be written has nowhere to be reported.
    if host.add_to_metric(gauge, amount).is_ok() {
        count(gauge, amount);
    }
}

/// Takes note that the worker is to take off so much more of a gauge, or less: it was added by another, or will be
/// taken off by another.
pub(super) fn count(gauge: MetricId, amount: i64) {
    ADDED.with(|added| {
        // Nothing else has it borrowed: Envoy calls nothing back.
        if let Ok(mut added) = added.try_borrow_mut() {
            let sum = added.entry(gauge.0).or_default();
            *sum = sum.saturating_add(amount);
        }
    });
}

/// Takes off what the worker has added, because its memory is about to be lost. It does not allocate.
#[cfg(any(test, target_arch = "wasm32"))]
pub(crate) fn release(host: &dyn Host) {
    ADDED.with(|added| {
        // It is borrowed if there was no memory for another gauge.
        let Ok(mut added) = added.try_borrow_mut() else {
            return;
        };
        for (gauge, sum) in &mut *added {
            let sum = std::mem::take(sum);
            if sum != 0 {
                let _ = host.add_to_metric(MetricId(*gauge), sum.saturating_neg());
            }
        }
    });
}
