//! The body of a request while it is held, out of Envoy's buffer.
//!
//! Envoy accepts no more of a body than its buffer holds, so each piece is taken out of it, and the
//! whole body is put in at the end. All streams of a worker share one bound on what is held.

#[cfg(test)]
mod tests;

use std::cell::Cell;

/// Pieces are joined into blocks of this many bytes, so that tiny pieces take no more memory than others.
const BLOCK_BYTES: usize = 64 * 1024;

thread_local! {
    /// The bytes that all streams of the worker hold.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// The pieces of a body that were taken out of Envoy's buffer.
#[derive(Debug, Default)]
pub(super) struct HeldBody {
    blocks: Vec<Vec<u8>>,
    share: Share,
}

/// A whole body, or the beginning of one. It counts as held if it was joined from pieces.
#[derive(Debug, Default)]
pub(super) struct WholeBody {
    pub(super) bytes: Vec<u8>,
    share: Share,
}

/// A share of the bytes that the worker holds, released when it is dropped.
#[derive(Debug, Default)]
struct Share(usize);

// === impl HeldBody ===

impl HeldBody {
    /// Returns whether nothing is held.
    pub(super) const fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Counts more bytes as held, if a worker that may hold `max` in all has room for them. Returns whether
    /// it has.
    pub(super) fn reserve(&mut self, bytes: usize, max: usize) -> bool {
        self.share.grow(bytes, max)
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

    /// Returns all that is held, with the last piece; a body that came in one piece is not copied.
    pub(super) fn join(self, last: Vec<u8>) -> WholeBody {
        let Self { blocks, share } = self;
        if blocks.is_empty() {
            return WholeBody { bytes: last, share };
        }
        let held = blocks.iter().map(Vec::len).fold(0, usize::saturating_add);
        let mut bytes = Vec::with_capacity(held.saturating_add(last.len()));
        for block in blocks {
            bytes.extend_from_slice(&block);
        }
        bytes.extend_from_slice(&last);
        WholeBody { bytes, share }
    }
}

// === impl WholeBody ===

impl WholeBody {
    /// Counts the body as held while it is kept beside the one in Envoy's buffer.
    pub(super) fn keep(&mut self) {
        let missing = self.bytes.len().saturating_sub(self.share.0);
        self.share.grow(missing, usize::MAX);
    }
}

// === impl Share ===

impl Share {
    fn grow(&mut self, bytes: usize, max: usize) -> bool {
        let held = HELD.get().saturating_add(bytes);
        let has_room = held <= max;
        if has_room {
            HELD.set(held);
            self.0 = self.0.saturating_add(bytes);
        }
        has_room
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        HELD.set(HELD.get().saturating_sub(self.0));
    }
}
