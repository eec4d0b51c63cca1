//! Bits, read forwards from the start of some bytes or backwards from their end.

use crate::meter::coding::DecodeError;

/// The most bits that can be read at once.
const MOST: u32 = 56;

/// Up to [`MOST`] bits from a bit on, the first the lowest; beyond the end they are 0.
fn bits(bytes: &[u8], from: usize, count: u32) -> u64 {
    let rest = bytes.get(from / 8..).unwrap_or_default();
    let word = if let Some(word) = rest.first_chunk::<8>() {
        u64::from_le_bytes(*word)
    } else {
        let mut word = [0; 8];
        for (slot, byte) in word.iter_mut().zip(rest) {
            *slot = *byte;
        }
        u64::from_le_bytes(word)
    };
    (word >> (from % 8)) & mask(count)
}

/// So many ones.
fn mask(count: u32) -> u64 {
    1_u64
        .checked_shl(count.min(MOST))
        .unwrap_or(0)
        .wrapping_sub(1)
}

/// Reads from the first bit on.
#[derive(Debug)]
pub(super) struct Forwards<'a> {
    bytes: &'a [u8],
    read: usize,
}

impl<'a> Forwards<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, read: 0 }
    }

    pub(super) fn read(&mut self, count: u32) -> u64 {
        let value = bits(self.bytes, self.read, count);
        self.read = self.read.saturating_add(count as usize);
        value
    }

    /// Takes back a bit that was read.
    pub(super) fn unread(&mut self) {
        self.read = self.read.saturating_sub(1);
    }

    /// How many bytes were begun; an error if there are not so many.
    pub(super) fn bytes_read(&self) -> Result<usize, DecodeError> {
        let bytes = self.read.div_ceil(8);
        if bytes > self.bytes.len() {
            return Err(DecodeError::Corrupt);
        }
        Ok(bytes)
    }
}

/// Reads from the last bit on, which is marked by a one above it.
#[derive(Debug)]
pub(super) struct Backwards<'a> {
    bytes: &'a [u8],
    /// How many bits are left; below zero what was read beyond them.
    left: i64,
}

impl<'a> Backwards<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let last = bytes.last().ok_or(DecodeError::Corrupt)?;
        let marker = last.checked_ilog2().ok_or(DecodeError::Corrupt)?;
        let whole = bytes.len().saturating_sub(1).saturating_mul(8);
        let left = i64::try_from(whole).map_err(|_| DecodeError::Corrupt)?;
        Ok(Self {
            bytes,
            left: left.saturating_add(i64::from(marker)),
        })
    }

    /// The next bits, the first the highest. Beyond the last they are 0.
    pub(super) fn read(&mut self, count: u32) -> u64 {
        self.left = self.left.saturating_sub(i64::from(count));
        self.bits(count)
    }

    /// The next bits, without reading them.
    pub(super) fn peek(&mut self, count: u32) -> u64 {
        let left = self.left;
        let value = self.read(count);
        self.left = left;
        value
    }

    fn bits(&self, count: u32) -> u64 {
        if let Ok(from) = usize::try_from(self.left) {
            return bits(self.bytes, from, count);
        }
        let missing = u32::try_from(self.left.unsigned_abs()).unwrap_or(u32::MAX);
        let there = count.saturating_sub(missing);
        bits(self.bytes, 0, there)
            .checked_shl(missing)
            .filter(|_| there > 0)
            .unwrap_or(0)
    }

    /// How many bits are left; below zero what was read beyond them.
    pub(super) fn left(&self) -> i64 {
        self.left
    }
}
