//! What one coding of a body may take: memory, and work for the bytes that have arrived.

use super::error::DecodeError;
use super::memory::{DecoderMemory, Holding};

/// The bytes of a body that are decoded at a time. The work that they allow is that of all of them, so that
/// it does not depend on how the body is divided into pieces.
pub(super) const STEP_BYTES: usize = 256;
/// The work that any body allows.
const FREE_WORK: u64 = 64 << 10;
/// The number of bytes at the beginning of a body that allow [`FIRST_RATIO`], so that a short body of
/// repetitions, such as that of a model in a loop, is decoded.
const FIRST_BYTES: u64 = 4 << 10;
/// The work that each of the first bytes allows.
const FIRST_RATIO: u64 = 256;
/// The work that each further byte allows. Server-sent events that are compressed as a whole take up to 50.
const RATIO: u64 = 64;
/// The work for the bytes that arrive at once, however many there are: decoding does not stop in between, and a worker
/// does nothing else meanwhile. Envoy passes on up to 1 MiB.
const WORK_AT_ONCE: u64 = 3 << 20;
/// How much of that a line takes beside its bytes, because each line of an event stream is a field or an event.
const LINE_WORK: u64 = 8;

/// What one coding of a body may take.
///
/// A unit of work is a decoded byte or an entry of a table.
#[derive(Debug)]
pub(super) struct Allowance {
    holding: Holding,
    allowed: u64,
    /// The work that may be done before the next bytes arrive.
    at_once: u64,
    done: u64,
}

// === impl Allowance ===

impl Allowance {
    pub(super) fn new(memory: &DecoderMemory) -> Self {
        Self {
            holding: Holding::new(memory),
            allowed: 0,
            at_once: WORK_AT_ONCE,
            done: 0,
        }
    }

    /// Begins with bytes that have arrived.
    pub(super) fn begin(&mut self) {
        self.at_once = self.done.saturating_add(WORK_AT_ONCE);
    }

    /// Takes lines into account that were decoded.
    pub(super) fn add_lines(&mut self, lines: usize) {
        let work = (lines as u64).saturating_mul(LINE_WORK);
        self.at_once = self.at_once.saturating_sub(work);
    }

    /// Allows the work of a body of which this many bytes have arrived, the last step counted as a whole.
    pub(super) fn allow(&mut self, encoded_bytes: u64) {
        let bytes = encoded_bytes
            .div_ceil(STEP_BYTES as u64)
            .saturating_mul(STEP_BYTES as u64);
        let first = bytes.min(FIRST_BYTES);
        let further = bytes.saturating_sub(first);
        self.allowed = FREE_WORK
            .saturating_add(first.saturating_mul(FIRST_RATIO))
            .saturating_add(further.saturating_mul(RATIO));
    }

    /// Does work, or fails if it exceeds what is allowed.
    pub(super) fn work(&mut self, units: usize) -> Result<(), DecodeError> {
        if units > self.work_left() {
            return Err(DecodeError::TooLarge);
        }
        self.add_work(units as u64);
        Ok(())
    }

    /// Adds work that was done.
    pub(super) fn add_work(&mut self, units: u64) {
        self.done = self.done.saturating_add(units);
    }

    /// Returns the work that is still allowed.
    pub(super) fn work_left(&self) -> usize {
        let left = self.allowed.min(self.at_once).saturating_sub(self.done);
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    /// Pays for room for more items of a vector, which grows by half at least.
    pub(super) fn reserve<T>(
        &mut self,
        items: &mut Vec<T>,
        more: usize,
    ) -> Result<(), DecodeError> {
        let needed = items.len().saturating_add(more);
        if needed <= items.capacity() {
            return Ok(());
        }
        let target = needed.max(items.capacity().saturating_mul(3) / 2);
        self.reserve_exact(items, target.saturating_sub(items.len()))
    }

    /// Pays for room for more items of a vector, and no more than that.
    pub(super) fn reserve_exact<T>(
        &mut self,
        items: &mut Vec<T>,
        more: usize,
    ) -> Result<(), DecodeError> {
        let before = items.capacity();
        let target = items.len().saturating_add(more);
        if target <= before {
            return Ok(());
        }
        // Both are allocated while the items are moved.
        self.holding.take(bytes::<T>(target))?;
        items
            .try_reserve_exact(more)
            .map_err(|_| DecodeError::Memory)?;
        self.holding.release(bytes::<T>(before));
        Ok(())
    }

    /// Pays for something that is about to be allocated, until the end.
    pub(super) fn pay_bytes(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.holding.take(bytes)
    }
}

/// Returns the size of so many items.
fn bytes<T>(count: usize) -> usize {
    count.saturating_mul(size_of::<T>())
}
