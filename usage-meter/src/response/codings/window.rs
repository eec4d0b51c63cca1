//! The memory for the windows of all decoders on a thread.

use std::cell::Cell;

use super::coding::DecodeError;

/// The maximum memory in bytes that the windows of all decoders on a thread take.
const MAX_WINDOW_BYTES: usize = 256 << 20;

thread_local! {
    /// The memory in bytes that windows take on this thread.
    static USED_BYTES: Cell<usize> = const { Cell::new(0) };
}

/// A share of the memory for windows, released on drop.
#[derive(Debug)]
pub(super) struct Window {
    bytes: usize,
}

// === impl Window ===

impl Window {
    /// Reserves memory, or fails if there is not enough left.
    pub(super) fn reserve(bytes: usize) -> Result<Self, DecodeError> {
        let total = Self::used_bytes().saturating_add(bytes);
        if total > MAX_WINDOW_BYTES {
            return Err(DecodeError::Window);
        }
        USED_BYTES.set(total);
        Ok(Self { bytes })
    }

    /// Returns the memory in bytes that windows take on this thread.
    pub(super) fn used_bytes() -> usize {
        USED_BYTES.get()
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        USED_BYTES.set(Self::used_bytes().saturating_sub(self.bytes));
    }
}
