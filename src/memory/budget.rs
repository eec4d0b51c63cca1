//! The budget of a worker.

use super::allocator::allocated;

/// A budget is divided into so many parts.
const PARTS: usize = 16;

/// The share of decoders.
const DECODER_PARTS: usize = 4;

/// What memory is needed for, in the order in which it ends: optional work first, requests last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Need {
    /// A better estimate: without it, an exchange is charged one that is at least its reservation.
    Estimate,
    /// A better decision: without it, a request is decided on by what is known without it.
    Decision,
    /// Another exchange: without it, the request is rejected.
    Request,
    /// An exchange that was let in: without it, its response is not read any more, and it is charged at least its
    /// reservation.
    Exchange,
}

/// The budget of a worker: how many bytes the module may have allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    bytes: usize,
}

// === impl Need ===

impl Need {
    /// Returns the parts of the budget up to which memory is there for this need. What is left at the end is for
    /// exchanges that were let in, which always finish.
    const fn parts(self) -> usize {
        match self {
            Self::Estimate => 12,
            Self::Decision => 14,
            Self::Request => 15,
            Self::Exchange => 16,
        }
    }

    /// Returns the name in log lines.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Estimate => "estimates",
            Self::Decision => "decisions",
            Self::Request => "requests",
            Self::Exchange => "responses",
        }
    }
}

// === impl Budget ===

impl Budget {
    /// Returns a budget of so many bytes.
    pub(crate) const fn new(bytes: usize) -> Self {
        Self { bytes }
    }

    /// Returns how many bytes the decoders of the worker may have, which have so many now.
    pub(crate) fn for_decoders(self, used: usize) -> usize {
        let room = used.saturating_add(self.room(Need::Estimate));
        self.parts(DECODER_PARTS).min(room)
    }

    /// Returns the bytes of the budget.
    pub(crate) const fn bytes(self) -> usize {
        self.bytes
    }

    /// Returns so many parts of the budget.
    pub(super) const fn parts(self, parts: usize) -> usize {
        (self.bytes / PARTS).saturating_mul(parts)
    }

    /// Returns how many bytes more may be allocated for a need.
    pub(crate) fn room(self, need: Need) -> usize {
        self.parts(need.parts()).saturating_sub(allocated())
    }

    /// Returns whether so many bytes more may be allocated for a need.
    ///
    /// There is no hysteresis: each request is decided on by what is allocated when it comes, and those that are let
    /// in change what the next one meets.
    pub(crate) fn has_room(self, need: Need, bytes: usize) -> bool {
        allocated().saturating_add(bytes) <= self.parts(need.parts())
    }
}
