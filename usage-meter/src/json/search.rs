//! Byte search, eight bytes at a time.
//!
//! A word is treated as eight flags: `(x - 1) & !x` has the high bit set in each byte that is 0, and
//! is exact up to the lowest such byte (Knuth, TAOCP 7.1.3). Most strings and numbers in JSON are so
//! short that this is faster than the setup of a vectorised search, which takes over for longer ones.

use memchr::memchr2;

#[cfg(test)]
mod tests;

/// The number of bytes in a word.
const WORD_BYTES: usize = 8;
/// The number of bytes that are searched word by word before `memchr` takes over.
const NEAR_BYTES: usize = 4 * WORD_BYTES;

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Returns the index of the first quote or backslash.
pub(super) fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    let near = bytes.get(..NEAR_BYTES).unwrap_or(bytes);
    let found = find(near, |word| {
        zeros(word ^ repeated(b'"')) | zeros(word ^ repeated(b'\\'))
    });
    found.or_else(|| {
        let far = memchr2(b'"', b'\\', bytes.get(NEAR_BYTES..)?)?;
        Some(far.saturating_add(NEAR_BYTES))
    })
}

/// Returns the index of the first quote, backslash or control character.
pub(crate) fn string_end(bytes: &[u8]) -> Option<usize> {
    find(bytes, |word| {
        zeros(word ^ repeated(b'"'))
            | zeros(word ^ repeated(b'\\'))
            | (word.wrapping_sub(repeated(b' ')) & !word & HIGH)
    })
}

/// Returns the index of the first quote, colon, brace or bracket.
#[inline(never)]
pub(super) fn structure(bytes: &[u8]) -> Option<usize> {
    find(bytes, |word| {
        // Brackets differ from braces in one bit.
        let folded = word | repeated(0x20);
        zeros(word ^ repeated(b'"'))
            | zeros(word ^ repeated(b':'))
            | zeros(folded ^ repeated(b'{'))
            | zeros(folded ^ repeated(b'}'))
    })
}

/// Returns the index of the first byte that `test` flags.
fn find(bytes: &[u8], test: impl Fn(u64) -> u64) -> Option<usize> {
    let mut words = bytes.chunks_exact(WORD_BYTES);
    for (index, word) in words.by_ref().enumerate() {
        let word = word
            .first_chunk::<WORD_BYTES>()
            .copied()
            .unwrap_or_default();
        let flags = test(u64::from_le_bytes(word));
        if flags != 0 {
            let start = index.saturating_mul(WORD_BYTES);
            return Some(start.saturating_add(lowest_flag(flags)));
        }
    }
    let rest = words.remainder();
    let index = rest.iter().position(|byte| {
        let mut word = [0; WORD_BYTES];
        if let Some(slot) = word.first_mut() {
            *slot = *byte;
        }
        test(u64::from_le_bytes(word)) & 0x80 != 0
    })?;
    Some(bytes.len().saturating_sub(rest.len()).saturating_add(index))
}

/// Returns a word of eight times the same byte.
const fn repeated(byte: u8) -> u64 {
    LOW.wrapping_mul(byte as u64)
}

/// Flags the bytes that are 0; above the lowest of them, others may be flagged too.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(LOW) & !word & HIGH
}

/// Returns the index of the byte with the lowest flag.
const fn lowest_flag(flags: u64) -> usize {
    (flags.trailing_zeros() / 8) as usize
}
