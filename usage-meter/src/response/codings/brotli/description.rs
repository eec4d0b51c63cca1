//! Descriptions of prefix codes (RFC 7932, sections 3.4 and 3.5), read as far as they have come.

use super::super::bits::{Bits, Stop};
use super::super::error::DecodeError::Corrupt;
use super::super::output::Output;
use super::super::prefix_code::{MAX_SYMBOLS, PrefixCode, PrefixCodes};
use super::tables::{LENGTH_ORDER, LENGTHS};

/// The work of the length of a code.
const LENGTH_WORK: usize = 4;

/// The part of a description that comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Kind,
    /// The symbols of a simple code.
    Symbols,
    /// The lengths of the codes of lengths, from a place in their order on, with the space that is left to
    /// them.
    LengthCodes { next: usize, space: u32 },
    /// The lengths of the codes.
    Lengths(PrefixCode),
}

/// A description that has been read as far as it has come.
#[derive(Debug)]
pub(super) struct Description {
    part: Part,
    /// The lengths of the codes of lengths.
    length_lengths: [u8; LENGTH_ORDER.len()],
    length_codes: PrefixCodes,
    lengths: [u8; MAX_SYMBOLS],
    /// The number of lengths that were read.
    read: usize,
    /// The space that is left to further codes; a code of `n` bits takes 2^(15-n).
    space: u32,
    /// The last length that is not 0.
    last: u8,
    /// The length that is being repeated, and how often it has been.
    repeated: u8,
    repetitions: u32,
}

// === impl Description ===

impl Default for Description {
    fn default() -> Self {
        Self {
            part: Part::Kind,
            length_lengths: [0; LENGTH_ORDER.len()],
            length_codes: PrefixCodes::default(),
            lengths: [0; MAX_SYMBOLS],
            read: 0,
            space: 0,
            last: 0,
            repeated: 0,
            repetitions: 0,
        }
    }
}

impl Description {
    /// Reads a code for an alphabet of so many symbols, and adds it to `codes`.
    pub(super) fn read(
        &mut self,
        symbols: usize,
        bits: &mut Bits<'_>,
        codes: &mut PrefixCodes,
        output: &mut Output,
    ) -> Result<PrefixCode, Stop> {
        loop {
            self.part = match self.part {
                Part::Kind => match bits.at_once(|bits| bits.read(2))? {
                    1 => Part::Symbols,
                    skipped => {
                        self.length_lengths = [0; LENGTH_ORDER.len()];
                        Part::LengthCodes {
                            next: skipped as usize,
                            space: 32,
                        }
                    }
                },
                Part::Symbols => {
                    let code = bits.at_once(|bits| read_simple(symbols, bits, codes, output))?;
                    self.part = Part::Kind;
                    return Ok(code);
                }
                Part::LengthCodes { next, space } => {
                    self.length_codes(next, space, bits, output)?
                }
                Part::Lengths(code) => {
                    self.lengths(code, symbols, bits, output)?;
                    self.part = Part::Kind;
                    let lengths = self.lengths.get(..self.read).ok_or(Corrupt)?;
                    return Ok(codes.add(lengths, output)?);
                }
            };
        }
    }

    /// Reads the lengths of the codes of lengths.
    fn length_codes(
        &mut self,
        mut next: usize,
        mut space: u32,
        bits: &mut Bits<'_>,
        output: &mut Output,
    ) -> Result<Part, Stop> {
        while let Some(place) = LENGTH_ORDER.get(next)
            && space > 0
        {
            self.part = Part::LengthCodes { next, space };
            let length = read_length(bits)?;
            if let Some(slot) = self.length_lengths.get_mut(usize::from(*place)) {
                *slot = length;
            }
            if length > 0 {
                let taken = 32 >> length;
                space = space.checked_sub(taken).ok_or(Corrupt)?;
            }
            next = next.saturating_add(1);
        }
        self.length_codes.clear();
        let mut used = (0_u16..)
            .zip(self.length_lengths)
            .filter(|(_, length)| *length > 0);
        let code = match (used.next(), used.next()) {
            (Some((symbol, _)), None) => self.length_codes.add_single(symbol, output)?,
            _ => self.length_codes.add(&self.length_lengths, output)?,
        };
        self.read = 0;
        self.space = 1 << 15;
        self.last = 8;
        self.repeated = 0;
        self.repetitions = 0;
        Ok(Part::Lengths(code))
    }

    /// Reads the lengths of the codes.
    fn lengths(
        &mut self,
        code: PrefixCode,
        symbols: usize,
        bits: &mut Bits<'_>,
        output: &mut Output,
    ) -> Result<(), Stop> {
        while self.read < symbols && self.space > 0 {
            let codes = &self.length_codes;
            let before = *bits;
            let length = codes.read(code, bits)?;
            let extra = match length {
                16 => bits.read(2),
                17 => bits.read(3),
                _ => Ok(0),
            };
            let extra = extra.or_else(|stop| bits.back_to(before, stop))?;
            output.add_work(LENGTH_WORK);
            let (length, count) = match u8::try_from(length).unwrap_or(u8::MAX) {
                length @ 0..=15 => {
                    if length > 0 {
                        self.last = length;
                    }
                    self.repetitions = 0;
                    (length, 1)
                }
                16 => (self.last, self.repeat(self.last, extra, 2)),
                _ => (0, self.repeat(0, extra, 3)),
            };
            let end = self.read.saturating_add(count as usize);
            let range = self.read..end.min(symbols.saturating_add(1));
            if end > symbols {
                return Err(Corrupt.into());
            }
            self.lengths.get_mut(range).ok_or(Corrupt)?.fill(length);
            self.read = end;
            if length > 0 {
                let taken = (1_u32 << 15_u8.saturating_sub(length)).saturating_mul(count);
                self.space = self.space.checked_sub(taken).ok_or(Corrupt)?;
            }
        }
        Ok(())
    }

    /// Returns how often a length is repeated, and notes it: the next repetition of it multiplies.
    fn repeat(&mut self, length: u8, extra: u32, extra_bits: u32) -> u32 {
        if self.repeated != length {
            self.repeated = length;
            self.repetitions = 0;
        }
        let before = self.repetitions;
        let multiplied = match before.checked_sub(2) {
            Some(more) => more.checked_shl(extra_bits).unwrap_or(u32::MAX),
            None => 0,
        };
        // Never above the number of symbols, or the description is corrupt.
        self.repetitions = multiplied
            .saturating_add(extra)
            .saturating_add(3)
            .min(u32::from(u16::MAX));
        self.repetitions.saturating_sub(before)
    }
}

/// Reads a simple code: up to four symbols.
fn read_simple(
    symbols: usize,
    bits: &mut Bits<'_>,
    codes: &mut PrefixCodes,
    output: &mut Output,
) -> Result<PrefixCode, Stop> {
    let width = usize::BITS.saturating_sub(symbols.saturating_sub(1).leading_zeros());
    let count = (bits.read(2)? as usize).saturating_add(1);
    let mut used = [0_u16; 4];
    let used = used.get_mut(..count).unwrap_or_default();
    for slot in used.iter_mut() {
        *slot = u16::try_from(bits.read(width)?).map_err(|_| Corrupt)?;
    }
    let lengths: &[u8] = match count {
        1 => &[0],
        2 => &[1, 1],
        3 => &[1, 2, 2],
        _ if bits.read(1)? == 0 => &[2, 2, 2, 2],
        _ => &[1, 2, 3, 3],
    };
    let highest = used.iter().copied().max().unwrap_or_default();
    let is_repeated = (1..used.len()).any(|place| {
        let (before, after) = used.split_at_checked(place).unwrap_or_default();
        after.first().is_some_and(|symbol| before.contains(symbol))
    });
    if usize::from(highest) >= symbols || is_repeated {
        return Err(Corrupt.into());
    }
    if let [symbol] = used {
        return Ok(codes.add_single(*symbol, output)?);
    }
    for length in 1..=3 {
        let places = || {
            lengths
                .iter()
                .zip(1_usize..)
                .filter(|(of, _)| **of == length)
        };
        let first = places()
            .next()
            .map_or(0, |(_, place)| place.saturating_sub(1));
        let range = first..first.saturating_add(places().count());
        used.get_mut(range).unwrap_or_default().sort_unstable();
    }
    Ok(codes.add_few(used, lengths, output)?)
}

/// Reads the length of a code of lengths.
fn read_length(bits: &mut Bits<'_>) -> Result<u8, Stop> {
    let (word, count) = bits.peek(4);
    let (length, width) = LENGTHS
        .get((word & 15) as usize)
        .copied()
        .unwrap_or_default();
    if u32::from(width) > count {
        return Err(Stop::Input);
    }
    bits.skip(width.into());
    Ok(length)
}
