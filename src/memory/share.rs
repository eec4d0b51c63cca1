//! The shares of a budget, and what is counted against them.

use super::budget::{Budget, Need};
use std::cell::Cell;

/// What a worker keeps for its peers. Each has a share of the budget, so that none takes it all; together they
/// exceed it, because what is allocated in all is bounded as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// Bodies of requests that are held, or kept beside those in Envoy's buffers.
    Bodies,
    /// Headers and other attributes of requests that wait, or whose costs read them.
    Headers,
    /// What expressions read of bodies: as text while a body is read, then as values.
    Values,
    /// What requests in the queue keep.
    Queue,
}

/// The number of shares.
const SHARES: usize = 4;

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
    /// Returns the parts of the budget that are for this use. `requestBody.workerBytes` replaces that of bodies.
    const fn parts(self) -> usize {
        match self {
            Self::Bodies | Self::Headers => 8,
            Self::Values | Self::Queue => 4,
        }
    }

    /// Returns the bytes that are counted against the share in this worker.
    pub(crate) fn used(self) -> usize {
        USED.with(|used| used.get(self as usize).map_or(0, Cell::get))
    }

    /// Returns how many bytes more the share has room for.
    pub(crate) fn room(self, budget: Budget) -> usize {
        budget.parts(self.parts()).saturating_sub(self.used())
    }

    /// Returns how many bytes more can be kept: what the share and the budget have room for.
    pub(crate) fn left(self, budget: Budget) -> usize {
        self.room(budget).min(budget.room(Need::Decision))
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

    /// Counts bytes that are allocated and about to be kept for a decision, if the share has room for them and the
    /// budget is not exhausted. Returns whether they are counted.
    pub(crate) fn keep(&mut self, bytes: usize, budget: Budget) -> bool {
        let has_room = bytes <= self.share.room(budget) && budget.has_room(Need::Decision, 0);
        if has_room {
            self.add(bytes);
        }
        has_room
    }

    /// Counts more bytes that are about to be allocated and kept for a decision, if a share of `max` bytes and the
    /// budget have room for them. Returns whether they have.
    pub(crate) fn grow_within(&mut self, bytes: usize, max: usize, budget: Budget) -> bool {
        let used = self.share.used().saturating_add(bytes);
        let has_room = used <= max && budget.has_room(Need::Decision, bytes);
        if has_room {
            self.add(bytes);
        }
        has_room
    }

    /// Counts bytes that are kept already, whether there is room for them or not.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.share.set_used(self.share.used().saturating_add(bytes));
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Counts so many bytes less.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.share.set_used(self.share.used().saturating_sub(bytes));
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Counts nothing any more.
    pub(crate) fn release(&mut self) {
        self.shrink(self.bytes);
    }

    /// Returns the bytes that are counted.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.release();
    }
}
