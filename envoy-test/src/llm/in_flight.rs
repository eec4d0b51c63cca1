//! The number of concurrent requests at the provider.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The current and the highest number of concurrent requests.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    now: AtomicU64,
    max: AtomicU64,
}

/// A request in flight, until this is dropped.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Gauge>);

impl Gauge {
    /// Adds a request.
    pub(super) fn enter(gauge: &Arc<Self>) -> InFlight {
        let now = gauge.now.fetch_add(1, Ordering::SeqCst) + 1;
        gauge.max.fetch_max(now, Ordering::SeqCst);
        InFlight(Arc::clone(gauge))
    }

    /// Returns the highest number so far.
    pub(super) fn max(&self) -> u64 {
        self.max.load(Ordering::SeqCst)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}
