//! Bits that are read from the lowest of each byte on, as DEFLATE and brotli have them, and reading that
//! continues when more bytes arrive.

use super::error::DecodeError;

/// The maximum number of bits of everything that is read [at once](Bits::at_once).
const MAX_BITS: u32 = 56;

/// The reason why a coding stops reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// There is not enough input.
    Input,
    /// The output has to be passed on first.
    Output,
    /// The stream has ended. What follows it is ignored.
    End,
    /// The bytes cannot be decoded.
    Error(DecodeError),
}

/// Bits that were taken from the input and are not read yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UnreadBits {
    word: u64,
    count: u32,
}

/// A reader of bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bits<'a> {
    /// The next bits, the first as the lowest; 0 above them.
    word: u64,
    count: u32,
    /// The bytes after the word.
    rest: &'a [u8],
}

// === impl Stop ===

impl Stop {
    /// Returns the error; there is none if decoding continues later.
    pub(super) fn into_result(self) -> Result<(), DecodeError> {
        match self {
            Self::Error(error) => Err(error),
            Self::Input | Self::Output | Self::End => Ok(()),
        }
    }
}

impl From<DecodeError> for Stop {
    fn from(error: DecodeError) -> Self {
        Self::Error(error)
    }
}

// === impl UnreadBits ===

impl UnreadBits {
    /// Decodes the next input: takes steps until one stops. What the stop leaves unread is kept.
    pub(super) fn decode(
        &mut self,
        input: &mut &[u8],
        mut step: impl FnMut(&mut Bits<'_>) -> Result<(), Stop>,
    ) -> Result<(), DecodeError> {
        let mut bits = Bits::new(*self, input);
        let reason = loop {
            if let Err(stop) = step(&mut bits) {
                break stop;
            }
        };
        (*self, *input) = bits.into_unread();
        if reason == Stop::End {
            *input = &[];
        }
        reason.into_result()
    }
}

// === impl Bits ===

impl<'a> Bits<'a> {
    /// Returns a reader of unread bits and the bytes after them.
    fn new(unread: UnreadBits, rest: &'a [u8]) -> Self {
        Self {
            word: unread.word,
            count: unread.count,
            rest,
        }
    }

    /// Returns the unread bits, and the bytes after them.
    fn into_unread(self) -> (UnreadBits, &'a [u8]) {
        let unread = UnreadBits {
            word: self.word,
            count: self.count,
        };
        (unread, self.rest)
    }

    /// Reads all that `read` reads, or nothing if there is not enough input. Then the input is unread bits.
    pub(super) fn at_once<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        let before = *self;
        read(self).or_else(|stop| self.back_to(before, stop))
    }

    /// Goes back to where a read began that stopped for lack of input.
    #[cold]
    pub(super) fn back_to<T>(&mut self, before: Self, stop: Stop) -> Result<T, Stop> {
        if stop == Stop::Input {
            *self = before;
            // Less than `MAX_BITS` are left, so that all of them have room.
            self.refill();
        }
        Err(stop)
    }

    /// Reads up to [`MAX_BITS`] bits.
    #[inline]
    pub(super) fn read(&mut self, count: u32) -> Result<u32, Stop> {
        if self.count < count {
            self.refill();
            if self.count < count {
                return Err(Stop::Input);
            }
        }
        let mask = (1_u64 << count).wrapping_sub(1);
        let value = self.word & mask;
        self.skip(count);
        Ok(u32::try_from(value).unwrap_or(u32::MAX))
    }

    /// Returns at least `count` of the next bits, up to 32, with 0 where there are no more; and the number of
    /// those that there are.
    #[inline]
    pub(super) fn peek(&mut self, count: u32) -> (u32, u32) {
        if self.count < count {
            self.refill();
        }
        let word = self.word & u64::from(u32::MAX);
        (u32::try_from(word).unwrap_or_default(), self.count)
    }

    /// Skips bits that were peeked at.
    #[inline]
    pub(super) fn skip(&mut self, count: u32) {
        self.word >>= count;
        self.count = self.count.saturating_sub(count);
    }

    /// Skips the bits up to the next whole byte. Returns whether they are 0.
    pub(super) fn align(&mut self) -> bool {
        let count = self.count % 8;
        let are_zero = self.word & (1_u64 << count).wrapping_sub(1) == 0;
        self.skip(count);
        are_zero
    }

    /// Reads up to `max` whole bytes after [`align`](Self::align), and passes them to `take`. Returns their
    /// number.
    pub(super) fn bytes(
        &mut self,
        max: usize,
        mut take: impl FnMut(&[u8]) -> Result<(), DecodeError>,
    ) -> Result<usize, Stop> {
        let mut read = 0_usize;
        while read < max && self.count >= 8 {
            let [byte, ..] = self.word.to_le_bytes();
            self.skip(8);
            read = read.saturating_add(1);
            take(&[byte])?;
        }
        let left = max.saturating_sub(read).min(self.rest.len());
        if left > 0
            && let Some((bytes, rest)) = self.rest.split_at_checked(left)
        {
            self.rest = rest;
            take(bytes)?;
        }
        Ok(read.saturating_add(left))
    }

    /// Takes bytes into the word, as many as it has room for.
    #[inline]
    fn refill(&mut self) {
        if let Some(next) = self.rest.first_chunk::<8>() {
            // At least one byte, at most seven.
            let bytes = 63_u32.saturating_sub(self.count) / 8;
            let count = bytes.wrapping_mul(8);
            let mask = (1_u64 << count).wrapping_sub(1);
            self.word |= (u64::from_le_bytes(*next) & mask) << self.count;
            self.count = self.count.wrapping_add(count);
            self.rest = self.rest.get(bytes as usize..).unwrap_or_default();
            return;
        }
        while self.count <= MAX_BITS
            && let Some((byte, rest)) = self.rest.split_first()
        {
            self.word |= u64::from(*byte) << self.count;
            self.count = self.count.wrapping_add(8);
            self.rest = rest;
        }
    }
}
