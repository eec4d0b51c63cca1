//! Searches for a few bytes, eight at a time.
//!
//! With the bits of a word as eight flags: `x - 1 & !x` has the high bit of a byte set where the byte is 0,
//! and of the lowest such byte surely (Knuth, TAOCP 7.1.3). Strings and numbers in JSON are mostly so short
//! that this is faster than setting up a search over whole vectors, which is left to longer ones.

use memchr::memchr2;

/// How many bytes a word has.
const WORD: usize = 8;
/// So many bytes are searched by words before `memchr` takes over.
const NEAR: usize = 4 * WORD;

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The same byte eight times.
const fn all(byte: u8) -> u64 {
    LOW.wrapping_mul(byte as u64)
}

/// Flags the bytes that are 0; above the lowest of them also others.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(LOW) & !word & HIGH
}

/// Where the first byte of `bytes` is that a test flags, in words and then one by one.
fn find(bytes: &[u8], test: impl Fn(u64) -> u64) -> Option<usize> {
    let mut words = bytes.chunks_exact(WORD);
    for (place, word) in words.by_ref().enumerate() {
        let word = word.first_chunk::<WORD>().copied().unwrap_or_default();
        let flags = test(u64::from_le_bytes(word));
        if flags != 0 {
            return Some(place.saturating_mul(WORD).saturating_add(first(flags)));
        }
    }
    let rest = words.remainder();
    let at = rest.iter().position(|byte| {
        let mut word = [0; WORD];
        if let Some(slot) = word.first_mut() {
            *slot = *byte;
        }
        test(u64::from_le_bytes(word)) & 0x80 != 0
    })?;
    Some(bytes.len().saturating_sub(rest.len()).saturating_add(at))
}

/// The place of the lowest flag.
const fn first(flags: u64) -> usize {
    (flags.trailing_zeros() / 8) as usize
}

/// The next quote or backslash.
pub(super) fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    let near = bytes.get(..NEAR).unwrap_or(bytes);
    let found = find(near, |word| {
        zeros(word ^ all(b'"')) | zeros(word ^ all(b'\\'))
    });
    found.or_else(|| {
        let far = memchr2(b'"', b'\\', bytes.get(NEAR..)?)?;
        Some(far.saturating_add(NEAR))
    })
}

/// The next quote, colon, brace or bracket.
pub(super) fn structure(bytes: &[u8]) -> Option<usize> {
    find(bytes, |word| {
        // Brackets differ from braces in one bit.
        let folded = word | all(0x20);
        zeros(word ^ all(b'"'))
            | zeros(word ^ all(b':'))
            | zeros(folded ^ all(b'{'))
            | zeros(folded ^ all(b'}'))
    })
}
