//! DEFLATE (RFC 1951): blocks of literals and matches.

use super::bits::{Bits, Stop};
use super::error::DecodeError::{self, Corrupt};
use super::output::Output;
use super::prefix_code::{PrefixCode, PrefixCodes};

/// The maximum number of bytes that matches go back.
const WINDOW_BYTES: usize = 32 * 1024;
/// The number of symbols of the alphabets of literals and lengths, and of distances, with those that are not
/// used.
const LITERALS: usize = 288;
const DISTANCES: usize = 32;
/// The symbol at which a block ends.
const END_OF_BLOCK: u16 = 256;

/// The work of the codes of a dynamic block beside their symbols.
const DYNAMIC_WORK: usize = 1024;
/// The work of the length of a code.
const LENGTH_WORK: usize = 4;

/// The order in which the lengths of the codes of lengths are written (section 3.2.7).
const LENGTH_ORDER: [u8; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];
/// The base and the number of extra bits of the symbols 257 and up (section 3.2.5).
const LENGTHS: [(u16, u8); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];

/// The part that comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// The first bits of a block.
    #[default]
    Begin,
    StoredLength,
    /// The bytes of a stored block, with the number of those that are missing.
    Stored(usize),
    /// The numbers of codes of a dynamic block.
    Counts,
    /// The lengths of the codes of lengths.
    LengthLengths {
        count: usize,
        read: usize,
    },
    /// The lengths of the codes.
    Lengths {
        read: usize,
    },
    Symbols,
    End,
}

/// A stream of DEFLATE blocks.
#[derive(Debug)]
pub(super) struct Inflate {
    part: Part,
    is_last: bool,
    /// The codes of fixed blocks, once there was one.
    fixed: PrefixCodes,
    fixed_codes: Option<(PrefixCode, PrefixCode)>,
    dynamic: PrefixCodes,
    /// The codes of the current block: literals and lengths, and distances.
    codes: (PrefixCode, PrefixCode),
    is_fixed: bool,
    length_lengths: [u8; LENGTH_ORDER.len()],
    length_code: PrefixCode,
    /// The lengths of the codes of the current block, literals first.
    lengths: [u8; LITERALS + DISTANCES],
    literals: usize,
    distances: usize,
}

// === impl Inflate ===

impl Default for Inflate {
    fn default() -> Self {
        Self {
            part: Part::Begin,
            is_last: false,
            fixed: PrefixCodes::default(),
            fixed_codes: None,
            dynamic: PrefixCodes::default(),
            codes: Default::default(),
            is_fixed: false,
            length_lengths: [0; LENGTH_ORDER.len()],
            length_code: PrefixCode::default(),
            lengths: [0; LITERALS + DISTANCES],
            literals: 0,
            distances: 0,
        }
    }
}

impl Inflate {
    /// Begins a stream.
    pub(super) fn begin(&mut self, output: &mut Output) {
        self.part = Part::Begin;
        output.begin(WINDOW_BYTES);
    }

    /// Decodes the stream as far as input and output allow, up to its end.
    pub(super) fn run(&mut self, bits: &mut Bits<'_>, output: &mut Output) -> Result<(), Stop> {
        while self.part != Part::End {
            self.part = self.step(bits, output)?;
        }
        Ok(())
    }

    fn step(&mut self, bits: &mut Bits<'_>, output: &mut Output) -> Result<Part, Stop> {
        Ok(match self.part {
            Part::Begin => {
                let header = bits.at_once(|bits| bits.read(3))?;
                self.is_last = header & 1 == 1;
                match header >> 1 {
                    0 => {
                        bits.align();
                        Part::StoredLength
                    }
                    1 => {
                        self.codes = self.fixed_codes(output)?;
                        self.is_fixed = true;
                        Part::Symbols
                    }
                    2 => Part::Counts,
                    _ => return Err(Corrupt.into()),
                }
            }
            Part::StoredLength => {
                let length = bits.at_once(|bits| bits.read(32))?;
                let [a, b, c, d] = length.to_le_bytes();
                if (a, b) != (!c, !d) {
                    return Err(Corrupt.into());
                }
                Part::Stored(u16::from_le_bytes([a, b]).into())
            }
            Part::Stored(0) => self.after_block(bits),
            Part::Stored(left) => {
                if output.is_full() {
                    return Err(Stop::Output);
                }
                let read = bits.bytes(left, |bytes| output.extend(bytes))?;
                if read == 0 {
                    return Err(Stop::Input);
                }
                Part::Stored(left.saturating_sub(read))
            }
            Part::Counts => {
                let counts = bits.at_once(|bits| bits.read(14))? as usize;
                self.literals = (counts & 31).saturating_add(257);
                self.distances = (counts >> 5 & 31).saturating_add(1);
                self.length_lengths = [0; LENGTH_ORDER.len()];
                if self.literals > 286 || self.distances > 30 {
                    return Err(Corrupt.into());
                }
                Part::LengthLengths {
                    count: (counts >> 10).saturating_add(4),
                    read: 0,
                }
            }
            Part::LengthLengths { count, read } => {
                let length = bits.at_once(|bits| bits.read(3))?;
                let place = LENGTH_ORDER.get(read).copied().unwrap_or_default();
                if let Some(slot) = self.length_lengths.get_mut(usize::from(place)) {
                    *slot = u8::try_from(length).unwrap_or_default();
                }
                let read = read.saturating_add(1);
                if read < count {
                    Part::LengthLengths { count, read }
                } else {
                    self.dynamic.clear();
                    self.length_code = self.dynamic.add(&self.length_lengths, output)?;
                    Part::Lengths { read: 0 }
                }
            }
            Part::Lengths { read } => {
                self.read_lengths(read, bits, output)?;
                self.codes = self.dynamic_codes(output)?;
                self.is_fixed = false;
                Part::Symbols
            }
            Part::Symbols => {
                let codes = if self.is_fixed {
                    &self.fixed
                } else {
                    &self.dynamic
                };
                symbols(codes, self.codes, bits, output)?;
                self.after_block(bits)
            }
            Part::End => Part::End,
        })
    }

    fn after_block(&self, bits: &mut Bits<'_>) -> Part {
        if self.is_last {
            bits.align();
            Part::End
        } else {
            Part::Begin
        }
    }

    /// Reads the lengths of the codes of a dynamic block, of which some have been read.
    fn read_lengths(
        &mut self,
        mut read: usize,
        bits: &mut Bits<'_>,
        output: &mut Output,
    ) -> Result<(), Stop> {
        let count = self.literals.saturating_add(self.distances);
        while read < count {
            self.part = Part::Lengths { read };
            let (codes, code) = (&self.dynamic, self.length_code);
            let (symbol, repetitions) = bits.at_once(|bits| {
                let symbol = codes.read(code, bits)?;
                let repetitions = match symbol {
                    16 => bits.read(2)?.saturating_add(3),
                    17 => bits.read(3)?.saturating_add(3),
                    18 => bits.read(7)?.saturating_add(11),
                    _ => 1,
                };
                Ok((symbol, repetitions))
            })?;
            output.add_work(LENGTH_WORK);
            let length = match symbol {
                16 => {
                    let last = read.checked_sub(1).and_then(|last| self.lengths.get(last));
                    last.copied().ok_or(Corrupt)?
                }
                symbol @ 0..=15 => u8::try_from(symbol).unwrap_or_default(),
                _ => 0,
            };
            let end = read.saturating_add(repetitions as usize);
            if end > count {
                return Err(Corrupt.into());
            }
            self.lengths.get_mut(read..end).ok_or(Corrupt)?.fill(length);
            read = end;
        }
        Ok(())
    }

    /// Returns the codes of a dynamic block.
    fn dynamic_codes(
        &mut self,
        output: &mut Output,
    ) -> Result<(PrefixCode, PrefixCode), DecodeError> {
        let (literals, others) = self
            .lengths
            .split_at_checked(self.literals)
            .ok_or(Corrupt)?;
        if literals.get(usize::from(END_OF_BLOCK)) == Some(&0) {
            return Err(Corrupt);
        }
        output.work(DYNAMIC_WORK)?;
        self.dynamic.clear();
        let literals = add_padded::<LITERALS>(&mut self.dynamic, literals, output)?;
        let distances = others.get(..self.distances).ok_or(Corrupt)?;
        let distances = add_padded::<DISTANCES>(&mut self.dynamic, distances, output)?;
        Ok((literals, distances))
    }

    /// Returns the codes of a fixed block (section 3.2.6).
    fn fixed_codes(
        &mut self,
        output: &mut Output,
    ) -> Result<(PrefixCode, PrefixCode), DecodeError> {
        if let Some(codes) = self.fixed_codes {
            return Ok(codes);
        }
        let mut lengths = [8; LITERALS];
        lengths.get_mut(144..256).unwrap_or_default().fill(9);
        lengths.get_mut(256..280).unwrap_or_default().fill(7);
        let literals = self.fixed.add(&lengths, output)?;
        let distances = self.fixed.add(&[5; DISTANCES], output)?;
        self.fixed_codes = Some((literals, distances));
        Ok((literals, distances))
    }
}

/// Adds a code of an alphabet of `N` symbols, of which the last two are not used. A code that is not complete
/// because it has at most one symbol is completed by them.
fn add_padded<const N: usize>(
    codes: &mut PrefixCodes,
    lengths: &[u8],
    output: &mut Output,
) -> Result<PrefixCode, DecodeError> {
    let mut used = lengths.iter().filter(|length| **length > 0);
    let missing = match (used.next(), used.next()) {
        (None, _) => 2,
        (Some(1), None) => 1,
        _ => return codes.add(lengths, output),
    };
    let mut padded = [0; N];
    let slots = padded.get_mut(..lengths.len()).ok_or(Corrupt)?;
    slots.copy_from_slice(lengths);
    for slot in padded.iter_mut().rev().take(missing) {
        *slot = 1;
    }
    codes.add(&padded, output)
}

/// Decodes the symbols of a block, up to its end.
fn symbols(
    codes: &PrefixCodes,
    (literals, distances): (PrefixCode, PrefixCode),
    bits: &mut Bits<'_>,
    output: &mut Output,
) -> Result<(), Stop> {
    loop {
        if output.is_full() {
            return Err(Stop::Output);
        }
        let (symbol, distance) = bits.at_once(|bits| {
            let symbol = codes.read(literals, bits)?;
            if symbol <= END_OF_BLOCK {
                return Ok((symbol, 0));
            }
            let index = symbol.saturating_sub(END_OF_BLOCK).saturating_sub(1);
            let (base, extra) = LENGTHS.get(usize::from(index)).copied().ok_or(Corrupt)?;
            let length = u32::from(base).saturating_add(bits.read(extra.into())?);
            let distance = read_distance(codes.read(distances, bits)?, bits)?;
            let length = u16::try_from(length).map_err(|_| Corrupt)?;
            Ok((length.saturating_add(END_OF_BLOCK), distance))
        })?;
        match u8::try_from(symbol) {
            Ok(literal) => output.push(literal)?,
            Err(_) if symbol == END_OF_BLOCK => return Ok(()),
            Err(_) => {
                let length = symbol.saturating_sub(END_OF_BLOCK);
                output.copy(distance, length.into())?;
            }
        }
    }
}

/// Reads the rest of a distance with this symbol (section 3.2.5).
fn read_distance(symbol: u16, bits: &mut Bits<'_>) -> Result<usize, Stop> {
    let symbol = u32::from(symbol);
    if symbol >= 30 {
        return Err(Corrupt.into());
    }
    let Some(width) = (symbol >> 1).checked_sub(1) else {
        return Ok(symbol.saturating_add(1) as usize);
    };
    let base = (2 | symbol & 1) << width;
    let distance = base.saturating_add(bits.read(width)?).saturating_add(1);
    Ok(distance as usize)
}
