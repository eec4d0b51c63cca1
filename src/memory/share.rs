//! The shares of a budget, and what is counted against them.

use super::budget::{Budget, Need};
use std::cell::Cell;

/// What a worker keeps for its peers. Each has a share of the budget, so that none takes it all; together they
/// exceed it, because what is allocated in all is bounded as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// Bodies of requests that are held, or kept beside those in Envoy's buffers.
    Bodies,
}

/// The number of shares.
const SHARES: usize = 1;

thread_local! {
    /// The bytes that are counted against each share in this worker, under all its configurations.
    static USED: [Cell<usize>; SHARES] = const { [const { Cell::new(0) }; SHARES] };
}

/// Bytes that are counted against a share until they are dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    share: Share,
    bytes: usize,
}

// === impl Share ===

impl Share {
    /// Returns the bytes that are counted against the share in this worker.
    pub(crate) fn used(self) -> usize {
        USED.with(|used| used.get(self as usize).map_or(0, Cell::get))
    }

    fn set_used(self, bytes: usize) {
        USED.with(|used| {
            if let Some(used) = used.get(self as usize) {
                used.set(bytes);
            }
        });
    }
}

// === impl Lease ===

impl Lease {
    /// Returns a lease of nothing yet.
    pub(crate) const fn of(share: Share) -> Self {
        Self { share, bytes: 0 }
    }

    /// Counts more bytes that are about to be kept for a decision, if a share of `max` bytes and the budget have room
    /// for them. Returns whether they have.
    pub(crate) fn grow_within(&mut self, bytes: usize, max: usize, budget: Budget) -> bool {
        let used = self.share.used().saturating_add(bytes);
        let has_room = used <= max && budget.has_room(Need::Decision, bytes);
        if has_room {
            self.share.set_used(used);
            self.bytes = self.bytes.saturating_add(bytes);
        }
        has_room
    }

    /// Returns the bytes that are counted.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.share
            .set_used(self.share.used().saturating_sub(self.bytes));
    }
}
