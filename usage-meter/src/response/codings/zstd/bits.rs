//! Bits, read forwards from the start of some bytes or backwards from their end.

use super::super::error::DecodeError;

/// The maximum number of bits of one read.
const MAX_BITS: u32 = 56;

/// Returns up to [`MAX_BITS`] bits from the bit `from` on, the first as the lowest; 0 beyond the end.
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

/// Returns a number of ones.
fn mask(count: u32) -> u64 {
    1_u64
        .checked_shl(count.min(MAX_BITS))
        .unwrap_or(0)
        .wrapping_sub(1)
}

/// A reader from the first bit on.
#[derive(Debug)]
pub(super) struct Forwards<'a> {
    bytes: &'a [u8],
    read: usize,
}

// === impl Forwards ===

impl<'a> Forwards<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, read: 0 }
    }

    pub(super) fn read(&mut self, count: u32) -> u64 {
        let value = bits(self.bytes, self.read, count);
        self.read = self.read.saturating_add(count as usize);
        value
    }

    /// Returns the last bit to the reader.
    pub(super) fn unread(&mut self) {
        self.read = self.read.saturating_sub(1);
    }

    /// Returns the number of bytes that were read, the last perhaps in part; an error if there are fewer.
    pub(super) fn bytes_read(&self) -> Result<usize, DecodeError> {
        let bytes = self.read.div_ceil(8);
        if bytes > self.bytes.len() {
            return Err(DecodeError::Corrupt);
        }
        Ok(bytes)
    }
}

/// A reader from the last bit on, which has a one above it.
#[derive(Debug)]
pub(super) struct Backwards<'a> {
    bytes: &'a [u8],
    /// The number of bits that are left; negative for reads beyond the first bit.
    left: i64,
    /// The next bits, the first as the highest, with 0 beyond the first bit of all.
    word: u64,
    /// The number of bits of the word that can be read.
    held: u32,
}

// === impl Backwards ===

impl<'a> Backwards<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let last = bytes.last().ok_or(DecodeError::Corrupt)?;
        let marker = last.checked_ilog2().ok_or(DecodeError::Corrupt)?;
        let whole = bytes.len().saturating_sub(1).saturating_mul(8);
        let left = i64::try_from(whole).map_err(|_| DecodeError::Corrupt)?;
        Ok(Self {
            bytes,
            left: left.saturating_add(i64::from(marker)),
            word: 0,
            held: 0,
        })
    }

    /// Reads the next bits, the first as the highest; 0 beyond the first bit.
    #[inline]
    pub(super) fn read(&mut self, count: u32) -> u64 {
        let value = self.peek(count);
        self.skip(count);
        value
    }

    /// Returns the next bits, up to [`MAX_BITS`], without reading them.
    #[inline]
    pub(super) fn peek(&mut self, count: u32) -> u64 {
        if self.held < count {
            self.refill();
        }
        // In two steps, because none of the bits may be wanted.
        self.word >> 1 >> 63_u32.wrapping_sub(count)
    }

    /// Reads bits that were peeked at.
    #[inline]
    pub(super) fn skip(&mut self, count: u32) {
        self.word <<= count;
        self.held = self.held.saturating_sub(count);
        self.left = self.left.saturating_sub(i64::from(count));
    }

    /// Takes bits into the word, more than [`MAX_BITS`].
    #[inline]
    fn refill(&mut self) {
        let left = usize::try_from(self.left).unwrap_or(0);
        let end = left.div_ceil(8);
        let before = self.bytes.get(..end).unwrap_or_default();
        let word = if let Some(last) = before.last_chunk::<8>() {
            u64::from_le_bytes(*last)
        } else {
            let mut word = [0; 8];
            for (slot, byte) in word.iter_mut().rev().zip(before.iter().rev()) {
                *slot = *byte;
            }
            u64::from_le_bytes(word)
        };
        // The bits of the last byte that were read.
        let read = u32::try_from(end.saturating_mul(8).saturating_sub(left)).unwrap_or(0);
        self.word = word.unbounded_shl(read);
        self.held = 64_u32.saturating_sub(read);
    }

    /// Returns the number of bits that are left; negative after reads beyond the first bit.
    pub(super) fn left(&self) -> i64 {
        self.left
    }
}
