//! The decoded bytes of one coding: those that have not been passed on, and a window of those before them,
//! which matches refer to.

use super::allowance::Allowance;
use super::error::DecodeError;

/// The number of bytes from which decoded bytes are passed on before more are decoded.
pub(super) const PIECE_BYTES: usize = 16 * 1024;
/// The capacity in bytes that the first decoded bytes get.
const MIN_CAPACITY: usize = 2 * 1024;

/// The decoded bytes of one coding, and what the coding may take. See the [module](self).
///
/// It grows as bytes are decoded: the size of a window that a header announces costs nothing.
#[derive(Debug)]
pub(super) struct Output {
    bytes: Vec<u8>,
    /// The number of bytes that have been passed on.
    passed_on: usize,
    /// The first byte that a match may refer to.
    begin: usize,
    window_bytes: usize,
    /// The length up to which decoded bytes are counted as work.
    counted: usize,
    /// Work beside that, which is not counted yet.
    uncounted: usize,
    /// The length that is paid for and allowed.
    end: usize,
    allowance: Allowance,
}

// === impl Output ===

impl Output {
    pub(super) fn new(allowance: Allowance) -> Self {
        Self {
            bytes: Vec::new(),
            passed_on: 0,
            begin: 0,
            window_bytes: 0,
            counted: 0,
            uncounted: 0,
            end: 0,
            allowance,
        }
    }

    pub(super) fn allowance(&mut self) -> &mut Allowance {
        &mut self.allowance
    }

    /// Begins with bytes that have arrived.
    pub(super) fn begin_bytes(&mut self) {
        self.count();
        self.allowance.begin();
        self.set_end();
    }

    /// Takes the lines of the bytes that are passed on next into account.
    pub(super) fn count_lines(&mut self) {
        let lines = memchr::memchr2_iter(b'\n', b'\r', self.ready()).count();
        self.allowance.add_lines(lines);
    }

    /// Allows the work of a body of which this many bytes have arrived.
    pub(super) fn allow(&mut self, encoded_bytes: u64) {
        self.count();
        self.allowance.allow(encoded_bytes);
        self.set_end();
    }

    /// Does work that decodes no bytes.
    pub(super) fn work(&mut self, units: usize) -> Result<(), DecodeError> {
        self.count();
        let result = self.allowance.work(units);
        self.set_end();
        result
    }

    /// Does a little work, of which the next byte shows whether it is allowed.
    #[inline]
    pub(super) fn add_work(&mut self, units: usize) {
        self.uncounted = self.uncounted.saturating_add(units);
        self.end = self.end.saturating_sub(units);
    }

    /// Begins a stream with a window of this size. Its matches refer to no bytes before it.
    pub(super) fn begin(&mut self, window_bytes: usize) {
        self.begin = self.bytes.len();
        self.window_bytes = window_bytes;
    }

    /// Returns the bytes that have not been passed on.
    pub(super) fn ready(&self) -> &[u8] {
        self.bytes.get(self.passed_on..).unwrap_or_default()
    }

    /// Returns whether bytes are to be passed on before more are decoded.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len().saturating_sub(self.passed_on) >= PIECE_BYTES
    }

    /// Takes all bytes as passed on, and removes those that no match can refer to.
    pub(super) fn pass_on(&mut self) {
        self.count();
        let length = self.bytes.len();
        let window = self.window_bytes.min(length.saturating_sub(self.begin));
        let unneeded = length.saturating_sub(window);
        // The window is moved once there is a quarter of it before it, so that a byte is moved four times at
        // most.
        if unneeded > PIECE_BYTES.max(window / 4) {
            self.bytes.drain(..unneeded);
            self.begin = self.begin.saturating_sub(unneeded);
        }
        self.passed_on = self.bytes.len();
        self.counted = self.bytes.len();
        self.set_end();
    }

    /// Returns the last byte of the stream and the one before it, 0 where there is none.
    pub(super) fn last_two(&self) -> (u8, u8) {
        match self.bytes.get(self.begin..).unwrap_or_default() {
            [.., second, last] => (*last, *second),
            [last] => (*last, 0),
            [] => (0, 0),
        }
    }

    /// Appends a byte.
    #[inline]
    pub(super) fn push(&mut self, byte: u8) -> Result<(), DecodeError> {
        if self.bytes.len() >= self.end {
            self.grow(1)?;
        }
        self.bytes.push(byte);
        Ok(())
    }

    /// Appends bytes.
    pub(super) fn extend(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let count = self.reserve(bytes.len())?;
        self.bytes
            .extend_from_slice(bytes.get(..count).unwrap_or_default());
        all(count, bytes.len())
    }

    /// Appends a byte several times.
    pub(super) fn fill(&mut self, byte: u8, count: usize) -> Result<(), DecodeError> {
        let allowed = self.reserve(count)?;
        self.bytes
            .resize(self.bytes.len().saturating_add(allowed), byte);
        all(allowed, count)
    }

    /// Appends `length` bytes from `distance` back. They may overlap with what is appended.
    pub(super) fn copy(&mut self, distance: usize, length: usize) -> Result<(), DecodeError> {
        if distance > self.window_bytes {
            return Err(DecodeError::Window);
        }
        let from = self.bytes.len().checked_sub(distance);
        let from = from
            .filter(|from| *from >= self.begin && distance > 0)
            .ok_or(DecodeError::Corrupt)?;
        let allowed = self.reserve(length)?;
        let mut left = allowed;
        while left > 0 {
            // The bytes from `from` on are a whole number of repetitions, so each round may copy all of them.
            let count = left.min(self.bytes.len().saturating_sub(from));
            self.bytes
                .extend_from_within(from..from.saturating_add(count));
            left = left.saturating_sub(count);
        }
        all(allowed, length)
    }

    /// Pays for up to `count` more bytes. Returns how many of them are allowed, at least one if there are any.
    #[inline]
    fn reserve(&mut self, count: usize) -> Result<usize, DecodeError> {
        if self.bytes.len().saturating_add(count) <= self.end {
            return Ok(count);
        }
        self.grow(count)
    }

    #[cold]
    fn grow(&mut self, count: usize) -> Result<usize, DecodeError> {
        self.count();
        let allowed = count.min(self.allowance.work_left());
        if allowed == 0 {
            return all(0, count).map(|()| 0);
        }
        let length = self.bytes.len();
        let capacity = self.bytes.capacity();
        let needed = length.saturating_add(allowed);
        if needed > capacity {
            // More than this is never kept, but for what is decoded at once.
            let window = self.window_bytes;
            let most = window.saturating_add(PIECE_BYTES.max(window / 4));
            let most = most.saturating_add(PIECE_BYTES.saturating_mul(2));
            let target = capacity.saturating_mul(2).max(MIN_CAPACITY).min(most);
            let more = target.max(needed).saturating_sub(length);
            self.allowance.reserve_exact(&mut self.bytes, more)?;
        }
        self.set_end();
        Ok(allowed)
    }

    /// Counts the decoded bytes as work.
    fn count(&mut self) {
        let length = self.bytes.len();
        let decoded = length.saturating_sub(self.counted);
        let units = decoded.saturating_add(std::mem::take(&mut self.uncounted));
        self.allowance.add_work(units as u64);
        self.counted = length;
    }

    fn set_end(&mut self) {
        let allowed = self.counted.saturating_add(self.allowance.work_left());
        self.end = self.bytes.capacity().min(allowed);
    }
}

/// Returns an error if not all bytes were allowed.
fn all(allowed: usize, count: usize) -> Result<(), DecodeError> {
    if allowed == count {
        Ok(())
    } else {
        Err(DecodeError::TooLarge)
    }
}
