//! How many requests are at the provider at once.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// How many there are now, and how many there were at most.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    now: AtomicU64,
    most: AtomicU64,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Gauge>);

impl Gauge {
    /// One more.
    pub fn enter(gauge: &Arc<Self>) -> InFlight {
        let now = gauge.now.fetch_add(1, Ordering::SeqCst) + 1;
        gauge.most.fetch_max(now, Ordering::SeqCst);
        InFlight(Arc::clone(gauge))
    }

    /// The most at once so far.
    pub fn most(&self) -> u64 {
        self.most.load(Ordering::SeqCst)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}
