//! What the worker has added to the gauges of the process, so that it can be subtracted before its memory is lost.

use crate::host::{Host, MetricId};
use std::cell::RefCell;
use std::collections::BTreeMap;

thread_local! {
    /// The sum for each gauge, under all configurations of the worker.
    static ADDED: RefCell<BTreeMap<u32, i64>> = const { RefCell::new(BTreeMap::new()) };
}

/// Adds to a gauge; a negative amount is subtracted.
pub(super) fn add(host: &dyn Host, gauge: MetricId, amount: i64) {
    host.add_to_metric(gauge, amount);
    count(gauge, amount);
}

/// Adds to a gauge that Envoy is to show at once.
pub(super) fn write(host: &dyn Host, gauge: MetricId, amount: i64) {
    // A metric that cannot be written has nowhere to be reported.
    if host.write_metric(gauge, amount).is_ok() {
        count(gauge, amount);
    }
}

/// Adds to what the worker has to subtract from a gauge, without changing the gauge: another worker has added the
/// amount or, if it is negative, will subtract it.
pub(super) fn count(gauge: MetricId, amount: i64) {
    ADDED.with(|added| {
        // It is not borrowed: Envoy makes no callback from within this call.
        if let Ok(mut added) = added.try_borrow_mut() {
            let sum = added.entry(gauge.0).or_default();
            *sum = sum.saturating_add(amount);
        }
    });
}

/// Subtracts what the worker has added, because its memory is about to be lost. It does not allocate.
#[cfg(any(test, target_arch = "wasm32"))]
pub(crate) fn release(host: &dyn Host) {
    ADDED.with(|added| {
        // It is still borrowed if the allocation of another entry has failed.
        let Ok(mut added) = added.try_borrow_mut() else {
            return;
        };
        for (gauge, sum) in &mut *added {
            let sum = std::mem::take(sum);
            if sum != 0 {
                let _ = host.write_metric(MetricId(*gauge), sum.saturating_neg());
            }
        }
    });
}
