//! The memory that the decoders of a worker share.

use std::cell::Cell;
use std::rc::Rc;

use super::error::DecodeError;

#[cfg(test)]
mod tests;

/// The limit in bytes of memory that was given none.
const DEFAULT_LIMIT_BYTES: usize = 256 << 20;
/// The memory in bytes that a decoder can have even if the others leave little. It suffices for a response of
/// this length in any coding, so that decoders of large windows do not take the place of ordinary ones.
pub(super) const SMALL_BYTES: usize = 512 << 10;

/// The memory that the decoders of a worker share, and its limit.
///
/// Clones share the same memory. A decoder takes memory before it allocates and releases it when it is
/// dropped. If there is none left, it stops with [`DecodeError::Memory`]. The last quarter is left to decoders
/// that have no more than 512 KiB.
///
/// ```
/// use usage_meter::DecoderMemory;
///
/// let memory = DecoderMemory::new(64 << 20);
/// assert_eq!((memory.limit_bytes(), memory.used_bytes()), (64 << 20, 0));
/// ```
#[derive(Clone, Debug)]
pub struct DecoderMemory(Rc<Pool>);

#[derive(Debug)]
struct Pool {
    limit: Cell<usize>,
    used: Cell<usize>,
}

/// What one decoder has of the memory, released on drop.
#[derive(Debug)]
pub(super) struct Holding {
    memory: DecoderMemory,
    bytes: usize,
}

// === impl DecoderMemory ===

impl Default for DecoderMemory {
    fn default() -> Self {
        Self::new(DEFAULT_LIMIT_BYTES)
    }
}

impl DecoderMemory {
    /// Returns memory with a limit in bytes.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self(Rc::new(Pool {
            limit: Cell::new(limit_bytes),
            used: Cell::new(0),
        }))
    }

    /// Changes the limit. Decoders keep what they have if it exceeds the new limit.
    pub fn set_limit_bytes(&self, limit_bytes: usize) {
        self.0.limit.set(limit_bytes);
    }

    /// Returns the limit in bytes.
    #[must_use]
    pub fn limit_bytes(&self) -> usize {
        self.0.limit.get()
    }

    /// Returns the memory in bytes that decoders have.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.0.used.get()
    }
}

// === impl Holding ===

impl Holding {
    /// Returns a holding that has no memory yet.
    pub(super) fn new(memory: &DecoderMemory) -> Self {
        Self {
            memory: memory.clone(),
            bytes: 0,
        }
    }

    /// Takes memory, or fails if there is not enough left.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), DecodeError> {
        let total = self.bytes.saturating_add(bytes);
        let used = self.memory.used_bytes().saturating_add(bytes);
        let limit = self.memory.limit_bytes();
        let available = if total > SMALL_BYTES {
            limit.saturating_sub(limit / 4)
        } else {
            limit
        };
        if used > available {
            return Err(DecodeError::Memory);
        }
        self.memory.0.used.set(used);
        self.bytes = total;
        Ok(())
    }

    /// Releases memory that was taken.
    pub(super) fn release(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes = self.bytes.saturating_sub(bytes);
        let used = self.memory.used_bytes().saturating_sub(bytes);
        self.memory.0.used.set(used);
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.release(self.bytes);
    }
}
