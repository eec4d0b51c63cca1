//! Prefix codes of DEFLATE and brotli: canonical, and read from the lowest bit on.

use super::bits::{Bits, Stop};
use super::error::DecodeError;
use super::output::Output;

/// The maximum number of symbols of an alphabet: the commands of brotli.
pub(super) const MAX_SYMBOLS: usize = 704;
/// The maximum length of a code in bits.
const MAX_CODE_BITS: u32 = 15;
/// The work of a symbol of a code beside the entries that it takes.
const SYMBOL_WORK: usize = 4;
/// The number of bits that the first table of a code is indexed by.
const ROOT_BITS: u32 = 9;

/// A symbol and the number of bits of its code; or where a second table begins, and the number of bits up to
/// its end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    value: u16,
    bits: u8,
}

/// Prefix codes, one after the other, each as a table and the second tables that it refers to.
#[derive(Debug, Default)]
pub(super) struct PrefixCodes {
    entries: Vec<Entry>,
}

/// The number of codes of each length in bits.
type Counts = [u16; MAX_CODE_BITS as usize + 1];

/// The second table that is being filled.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    /// The first bits of its codes.
    root: usize,
    bits: u32,
    /// The index of its first entry.
    start: usize,
}

/// One of the codes in [`PrefixCodes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PrefixCode {
    /// The index of the first entry.
    start: u32,
    root_bits: u32,
}

// === impl PrefixCodes ===

impl PrefixCodes {
    /// Removes all codes. Their memory is kept for others.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Adds a code of one symbol, which takes no bits.
    pub(super) fn add_single(
        &mut self,
        symbol: u16,
        output: &mut Output,
    ) -> Result<PrefixCode, DecodeError> {
        let start = self.add_table(0, output)?;
        if let Some(entry) = self.entries.get_mut(start) {
            entry.value = symbol;
        }
        Ok(PrefixCode {
            start: u32::try_from(start).map_err(|_| DecodeError::Memory)?,
            root_bits: 0,
        })
    }

    /// Adds the code in which each symbol has a length in bits, 0 if it has no code. The lengths must make a
    /// complete code.
    pub(super) fn add(
        &mut self,
        lengths: &[u8],
        output: &mut Output,
    ) -> Result<PrefixCode, DecodeError> {
        let mut counts = Counts::default();
        for length in lengths.iter().filter(|length| **length > 0) {
            let count = counts.get_mut(usize::from(*length));
            let count = count.ok_or(DecodeError::Corrupt)?;
            *count = count.wrapping_add(1);
        }
        let mut sorted = [0_u16; MAX_SYMBOLS];
        let mut places = Counts::default();
        let mut place = 0_u16;
        for (first, count) in places.iter_mut().zip(counts) {
            *first = place;
            place = place.wrapping_add(count);
        }
        for (symbol, length) in (0_u16..).zip(lengths).filter(|(_, length)| **length > 0) {
            if let Some(place) = places.get_mut(usize::from(*length)) {
                if let Some(slot) = sorted.get_mut(usize::from(*place)) {
                    *slot = symbol;
                }
                *place = place.wrapping_add(1);
            }
        }
        let count = usize::from(place);
        self.add_sorted(sorted.get(..count).unwrap_or_default(), &counts, output)
    }

    /// Adds the code of a few symbols in the order of their codes, each with its length in bits.
    pub(super) fn add_few(
        &mut self,
        symbols: &[u16],
        lengths: &[u8],
        output: &mut Output,
    ) -> Result<PrefixCode, DecodeError> {
        let mut counts = Counts::default();
        for length in lengths {
            if let Some(count) = counts.get_mut(usize::from(*length)) {
                *count = count.wrapping_add(1);
            }
        }
        self.add_sorted(symbols, &counts, output)
    }

    /// Adds the code of symbols in the order of their codes, with the number of codes of each length.
    fn add_sorted(
        &mut self,
        symbols: &[u16],
        counts: &Counts,
        output: &mut Output,
    ) -> Result<PrefixCode, DecodeError> {
        output.work(symbols.len().saturating_mul(SYMBOL_WORK))?;
        let max_bits = counts.iter().rposition(|count| *count > 0).unwrap_or(0);
        let max_bits = u32::try_from(max_bits).unwrap_or(0);
        // A code of `n` bits takes 2^(15-n) of the space.
        let units = (0..=MAX_CODE_BITS).rev().map(|bits| 1_u32 << bits);
        let taken = counts
            .iter()
            .zip(units)
            .fold(0_u32, |taken, (count, unit)| {
                taken.saturating_add(u32::from(*count).saturating_mul(unit))
            });
        if max_bits == 0 || taken != 1 << MAX_CODE_BITS {
            return Err(DecodeError::Corrupt);
        }
        let root_bits = max_bits.min(ROOT_BITS);
        let root_mask = (1_usize << root_bits).wrapping_sub(1);
        let start = self.add_table(root_bits, output)?;
        let mut symbols = symbols.iter().copied();
        let mut code = 0_usize;
        let mut second = Second::default();
        for bits in 1..=max_bits {
            let count = counts.get(bits as usize).copied().unwrap_or_default();
            for left in (1..=count).rev() {
                let value = symbols.next().unwrap_or_default();
                if bits <= root_bits {
                    self.fill(start, root_bits, code, bits, value);
                } else {
                    let root = code & root_mask;
                    if second.bits == 0 || second.root != root {
                        second = Second {
                            root,
                            bits: second_table_bits(counts, bits, left, root_bits),
                            start: 0,
                        };
                        second.start = self.add_table(second.bits, output)?;
                        let offset = second.start.wrapping_sub(start);
                        let link = Entry {
                            value: u16::try_from(offset).map_err(|_| DecodeError::Corrupt)?,
                            bits: u8::try_from(root_bits.wrapping_add(second.bits))
                                .unwrap_or(u8::MAX),
                        };
                        if let Some(entry) = self.entries.get_mut(start.wrapping_add(root)) {
                            *entry = link;
                        }
                    }
                    let further = bits.wrapping_sub(root_bits);
                    self.fill(second.start, second.bits, code >> root_bits, further, value);
                }
                code = next_code(code, bits);
            }
        }
        Ok(PrefixCode {
            start: u32::try_from(start).map_err(|_| DecodeError::Memory)?,
            root_bits,
        })
    }

    /// Fills the entries of a table that begin with a code.
    fn fill(&mut self, start: usize, table_bits: u32, code: usize, bits: u32, value: u16) {
        let end = start.wrapping_add(1 << table_bits);
        let entry = Entry {
            value,
            bits: u8::try_from(bits).unwrap_or(u8::MAX),
        };
        let table = self.entries.get_mut(start..end).unwrap_or_default();
        if bits == table_bits {
            if let Some(slot) = table.get_mut(code) {
                *slot = entry;
            }
            return;
        }
        for slot in table.iter_mut().skip(code).step_by(1 << bits) {
            *slot = entry;
        }
    }

    /// Reads a symbol of a code.
    #[inline]
    pub(super) fn read(&self, code: PrefixCode, bits: &mut Bits<'_>) -> Result<u16, Stop> {
        let PrefixCode { start, root_bits } = code;
        let (word, count) = bits.peek(MAX_CODE_BITS);
        let start = start as usize;
        let index = word as usize & (1_usize << root_bits).wrapping_sub(1);
        let mut entry = self.entry(start.wrapping_add(index))?;
        let mut length = u32::from(entry.bits);
        if length > root_bits {
            let mask = (1_usize << length.wrapping_sub(root_bits)).wrapping_sub(1);
            let index = (word >> root_bits) as usize & mask;
            let second = start.wrapping_add(usize::from(entry.value));
            entry = self.entry(second.wrapping_add(index))?;
            length = root_bits.wrapping_add(u32::from(entry.bits));
        }
        if length > count {
            return Err(Stop::Input);
        }
        bits.skip(length);
        Ok(entry.value)
    }

    #[inline]
    fn entry(&self, index: usize) -> Result<Entry, Stop> {
        let entry = self.entries.get(index).copied();
        entry.ok_or(Stop::Error(DecodeError::Corrupt))
    }

    /// Adds a table for so many bits. Returns the index of its first entry.
    fn add_table(&mut self, bits: u32, output: &mut Output) -> Result<usize, DecodeError> {
        let start = self.entries.len();
        let count = 1_usize << bits;
        output.work(count)?;
        output.allowance().reserve(&mut self.entries, count)?;
        let length = start.saturating_add(count);
        self.entries.resize(length, Entry::default());
        Ok(start)
    }
}

/// Returns the next code of a length in bits, or the first that is longer. Codes count from their highest bit,
/// but are read from the lowest.
fn next_code(code: usize, bits: u32) -> usize {
    let mut bit = 1_usize << bits.wrapping_sub(1);
    while code & bit != 0 {
        bit >>= 1;
    }
    (code & bit.wrapping_sub(1)) | bit
}

/// Returns the number of bits of a second table whose first code has a length of `bits`: enough for the codes
/// that begin as it does. Of this length, `count` codes are left.
fn second_table_bits(counts: &Counts, bits: u32, count: u16, root_bits: u32) -> u32 {
    let mut table_bits = bits.wrapping_sub(root_bits);
    let mut free = 1_i32 << table_bits;
    let longer = counts.iter().skip(bits as usize).skip(1);
    for count in std::iter::once(&count).chain(longer) {
        free = free.wrapping_sub(i32::from(*count));
        if free <= 0 {
            break;
        }
        table_bits = table_bits.wrapping_add(1);
        free <<= 1;
    }
    table_bits
}
