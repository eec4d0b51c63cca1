//! The body of a request while it is held, out of Envoy's buffer.
//!
//! Envoy accepts no more of a body than its buffer holds, so each piece is taken out of it, and the
//! whole body is put in at the end. All streams of a worker share one bound on what is held.

#[cfg(test)]
mod tests;

use crate::memory::{Budget, Lease, Share};

/// Pieces are joined into blocks of this many bytes, so that tiny pieces take no more memory than others.
const BLOCK_BYTES: usize = 64 * 1024;

/// The pieces of a body that were taken out of Envoy's buffer.
#[derive(Debug)]
pub(super) struct HeldBody {
    blocks: Vec<Vec<u8>>,
    lease: Lease,
}

/// A whole body, or the beginning of one. It counts as held if it was joined from pieces.
#[derive(Debug)]
pub(super) struct WholeBody {
    pub(super) bytes: Vec<u8>,
    lease: Lease,
}

// === impl HeldBody ===

impl Default for HeldBody {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            lease: Lease::of(Share::Bodies),
        }
    }
}

impl HeldBody {
    /// Returns whether nothing is held.
    pub(super) const fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Counts more bytes as held, if a worker that may hold `max` in all has room for them. Returns whether
    /// it has.
    pub(super) fn reserve(&mut self, bytes: usize, max: usize, budget: Budget) -> bool {
        self.lease.grow_within(bytes, max, budget)
    }

    /// Holds a piece for which there is room.
    pub(super) fn push(&mut self, piece: Vec<u8>) {
        match self.blocks.last_mut() {
            Some(block) if block.len().saturating_add(piece.len()) <= BLOCK_BYTES => {
                block.extend_from_slice(&piece);
            }
            _ => self.blocks.push(piece),
        }
    }

    /// Returns the pieces of the body, in order. They no longer count as held.
    pub(super) fn into_pieces(self) -> Vec<Vec<u8>> {
        self.blocks
    }

    /// Returns all that is held, with the last piece; a body that came in one piece is not copied.
    pub(super) fn join(self, last: Vec<u8>) -> WholeBody {
        let Self { blocks, lease } = self;
        if blocks.is_empty() {
            return WholeBody { bytes: last, lease };
        }
        let held = blocks.iter().map(Vec::len).fold(0, usize::saturating_add);
        let mut bytes = Vec::with_capacity(held.saturating_add(last.len()));
        for block in blocks {
            bytes.extend_from_slice(&block);
        }
        bytes.extend_from_slice(&last);
        WholeBody { bytes, lease }
    }
}

// === impl WholeBody ===

impl WholeBody {
    /// Counts the body as held while it is kept beside the one in Envoy's buffer; `None` if the worker, which
    /// may hold `max` in all, has no room for it.
    pub(super) fn keep(mut self, max: usize, budget: Budget) -> Option<Self> {
        let missing = self.bytes.len().saturating_sub(self.lease.bytes());
        let has_room = self.lease.grow_within(missing, max, budget);
        has_room.then_some(self)
    }
}
