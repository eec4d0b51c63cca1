//! The gauge of what the workers have allocated.

use crate::host::{Host, MetricId, MetricKind, Result};
use crate::memory::allocated;
use std::cell::Cell;

/// The gauge follows changes of so many bytes.
const STEP_BYTES: usize = 256 * 1024;

thread_local! {
    /// The bytes that the worker has reported under all its configurations: the gauge is of the process.
    static REPORTED: Cell<usize> = const { Cell::new(0) };
    /// The gauge.
    static GAUGE: Cell<Option<MetricId>> = const { Cell::new(None) };
}

/// Defines the gauge.
///
/// # Errors
/// Whatever Envoy answers; none is expected.
pub(super) fn define(host: &dyn Host) -> Result<()> {
    let gauge = host.define_metric(MetricKind::Gauge, "tollgate.memory_bytes")?;
    GAUGE.set(Some(gauge));
    Ok(())
}

/// Reports what the worker has allocated, if that has changed enough.
pub(super) fn update(host: &dyn Host) {
    let bytes = allocated();
    if bytes.abs_diff(REPORTED.get()) >= STEP_BYTES
        && let Some(gauge) = GAUGE.get()
    {
        let before = REPORTED.replace(bytes);
        host.add_to_metric(gauge, whole(bytes).saturating_sub(whole(before)));
    }
}

/// Takes the worker's bytes off the gauge, because its memory is about to go.
#[cfg(any(test, target_arch = "wasm32"))]
pub(super) fn release(host: &dyn Host) {
    let bytes = whole(REPORTED.take());
    if let Some(gauge) = GAUGE.get() {
        // A metric that cannot be written has nowhere to be reported.
        let _ = host.write_metric(gauge, bytes.saturating_neg());
    }
}

fn whole(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
