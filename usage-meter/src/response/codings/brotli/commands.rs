//! The commands of a meta-block (RFC 7932, sections 4, 5 and 8).

use brotli_decompressor::dictionary::{
    kBrotliDictionary, kBrotliDictionaryOffsetsByLength, kBrotliDictionarySizeBitsByLength,
};
use brotli_decompressor::transform::{TransformDictionaryWord, kNumTransforms};

use super::super::bits::{Bits, Stop};
use super::super::error::DecodeError::Corrupt;
use super::super::output::{Output, PIECE_BYTES};
use super::meta_block::MetaBlock;
use super::tables::{COMMANDS, COPY_LENGTHS, INSERT_LENGTHS, LAST_DISTANCES, Range};

/// The maximum length of a word of the dictionary that was transformed.
const MAX_WORD_BYTES: usize = 64;
/// The work of a command beside its bytes.
const COMMAND_WORK: usize = 4;
/// The first command that is followed by a distance. Those below repeat the last distance.
const FIRST_WITH_DISTANCE: u16 = 128;

/// The part of a command that comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// Its code, and the number of its literals.
    #[default]
    Begin,
    /// The number of bytes to copy, by its code.
    CopyLength {
        code: u16,
        repeats: bool,
    },
    Literals {
        repeats: bool,
    },
    Distance {
        repeats: bool,
    },
    /// The bytes to copy from so far back.
    Copy {
        distance: u32,
    },
}

/// The commands of a stream.
#[derive(Debug)]
pub(super) struct Commands {
    part: Part,
    window_bytes: u32,
    /// The number of bytes decoded so far, up to the size of the window.
    position: u32,
    /// The number of bytes that are missing in the meta-block.
    left: u32,
    /// The number of literals that are missing.
    literals: u32,
    copy_length: u32,
    /// The last distances, the latest first.
    last: [u32; 4],
}

// === impl Commands ===

impl Default for Commands {
    fn default() -> Self {
        Self {
            part: Part::Begin,
            window_bytes: 0,
            position: 0,
            left: 0,
            literals: 0,
            copy_length: 0,
            last: [4, 11, 15, 16],
        }
    }
}

impl Commands {
    pub(super) fn set_window(&mut self, bytes: usize) {
        self.window_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    }

    /// Begins a meta-block that decodes to so many bytes.
    pub(super) fn begin(&mut self, length: u32) {
        self.part = Part::Begin;
        self.left = length;
    }

    /// Counts bytes that were decoded otherwise.
    pub(super) fn add_position(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.position = self.position.saturating_add(bytes).min(self.window_bytes);
    }

    /// Runs the commands of a meta-block, until its end.
    pub(super) fn run(
        &mut self,
        block: &mut MetaBlock,
        bits: &mut Bits<'_>,
        output: &mut Output,
    ) -> Result<(), Stop> {
        loop {
            if output.is_full() {
                return Err(Stop::Output);
            }
            self.part = match self.part {
                Part::Begin => {
                    if self.left == 0 {
                        return Ok(());
                    }
                    block.command_blocks.take(bits, &block.block_codes)?;
                    let code = usize::from(block.command_blocks.current);
                    match bits.at_once(|bits| read_command(block, code, bits)) {
                        Ok((command, literals)) => {
                            self.literals = literals;
                            command
                        }
                        Err(stop) => {
                            block.command_blocks.put_back();
                            return Err(stop);
                        }
                    }
                }
                Part::CopyLength { code, repeats } => {
                    self.copy_length =
                        bits.at_once(|bits| read_length(&COPY_LENGTHS, code, bits))?;
                    // Once, however often the length was waited for.
                    output.add_work(COMMAND_WORK);
                    if self.literals > self.left {
                        return Err(Corrupt.into());
                    }
                    Part::Literals { repeats }
                }
                Part::Literals { repeats } => {
                    self.literals(block, bits, output)?;
                    if self.left == 0 {
                        // The last command copies nothing.
                        Part::Begin
                    } else {
                        Part::Distance { repeats }
                    }
                }
                Part::Distance { repeats } => {
                    let distance = self.distance(repeats, block, bits)?;
                    if distance > self.position {
                        self.word(distance, output)?;
                        Part::Begin
                    } else {
                        if self.copy_length > self.left {
                            return Err(Corrupt.into());
                        }
                        Part::Copy { distance }
                    }
                }
                Part::Copy { distance } => {
                    let count = (self.copy_length as usize).min(PIECE_BYTES);
                    output.copy(distance as usize, count)?;
                    self.take(count)?;
                    let count = u32::try_from(count).unwrap_or(u32::MAX);
                    self.copy_length = self.copy_length.saturating_sub(count);
                    if self.copy_length > 0 {
                        Part::Copy { distance }
                    } else {
                        Part::Begin
                    }
                }
            };
        }
    }

    /// Reads the literals of a command.
    fn literals(
        &mut self,
        block: &mut MetaBlock,
        bits: &mut Bits<'_>,
        output: &mut Output,
    ) -> Result<(), Stop> {
        while self.literals > 0 {
            if output.is_full() {
                return Err(Stop::Output);
            }
            if block.literal_blocks.left == 0 {
                block.literal_blocks.switch(bits, &block.block_codes)?;
            }
            let most = self.literals.min(block.literal_blocks.left);
            let piece = u32::try_from(PIECE_BYTES).unwrap_or(u32::MAX);
            let most = most.min(piece);
            let mut read = 0_u32;
            let result = read_literals(block, most, &mut read, bits, output);
            block.literal_blocks.left = block.literal_blocks.left.saturating_sub(read);
            self.literals = self.literals.saturating_sub(read);
            self.take(read as usize)?;
            result?;
        }
        Ok(())
    }

    /// Counts bytes of the meta-block.
    fn take(&mut self, bytes: usize) -> Result<(), Stop> {
        self.add_position(bytes);
        let bytes = u32::try_from(bytes).map_err(|_| Corrupt)?;
        self.left = self.left.checked_sub(bytes).ok_or(Corrupt)?;
        Ok(())
    }

    /// Reads a distance, or repeats the last one.
    fn distance(
        &mut self,
        repeats: bool,
        block: &mut MetaBlock,
        bits: &mut Bits<'_>,
    ) -> Result<u32, Stop> {
        let [last, second, third, _] = self.last;
        if repeats {
            return Ok(last);
        }
        block.distance_blocks.take(bits, &block.block_codes)?;
        let code = block.distance_code(self.copy_length);
        let read = bits.at_once(|bits| self.read_distance(block, code, bits));
        let (code, distance) = match read {
            Ok(read) => read,
            Err(stop) => {
                block.distance_blocks.put_back();
                return Err(stop);
            }
        };
        // Words of the dictionary are no distances.
        if code > 0 && distance <= self.position {
            self.last = [distance, last, second, third];
        }
        Ok(distance)
    }

    /// Reads a distance. Returns its code as well.
    fn read_distance(
        &self,
        block: &MetaBlock,
        code: usize,
        bits: &mut Bits<'_>,
    ) -> Result<(u32, u32), Stop> {
        let code = u32::from(block.distances.symbol(code, bits)?);
        if let Some((index, more)) = LAST_DISTANCES.get(code as usize) {
            let last = self.last.get(usize::from(*index)).copied();
            let distance = last.unwrap_or_default().checked_add_signed((*more).into());
            let distance = distance.filter(|distance| *distance > 0).ok_or(Corrupt)?;
            return Ok((code, distance));
        }
        let beyond = code.saturating_sub(16);
        let Some(beyond) = beyond.checked_sub(block.direct_distances) else {
            return Ok((code, beyond.saturating_add(1)));
        };
        let postfix_bits = block.postfix_bits;
        let high = beyond >> postfix_bits;
        let low = beyond & (1_u32 << postfix_bits).saturating_sub(1);
        let width = (high >> 1).saturating_add(1);
        let offset = (2 | high & 1) << width;
        let offset = offset.saturating_sub(4).saturating_add(bits.read(width)?);
        let distance = (offset << postfix_bits)
            .saturating_add(low)
            .saturating_add(block.direct_distances)
            .saturating_add(1);
        Ok((code, distance))
    }

    /// Appends a word of the dictionary, which is as long as the copy and is selected by the distance beyond
    /// the decoded bytes.
    fn word(&mut self, distance: u32, output: &mut Output) -> Result<(), Stop> {
        let length = self.copy_length as usize;
        let width = kBrotliDictionarySizeBitsByLength.get(length).copied();
        let width = width.filter(|width| *width > 0).ok_or(Corrupt)?;
        let beyond = distance.saturating_sub(self.position).saturating_sub(1);
        let index = beyond & (1_u32 << width).saturating_sub(1);
        let transform = i32::try_from(beyond >> width).map_err(|_| Corrupt)?;
        let offset = kBrotliDictionaryOffsetsByLength.get(length).copied();
        let from = index.saturating_mul(self.copy_length);
        let from = from.saturating_add(offset.unwrap_or_default()) as usize;
        let word = kBrotliDictionary.get(from..from.saturating_add(length));
        let word = word.filter(|_| transform < kNumTransforms).ok_or(Corrupt)?;
        let mut transformed = [0; MAX_WORD_BYTES];
        let length = i32::try_from(length).map_err(|_| Corrupt)?;
        let length = TransformDictionaryWord(&mut transformed, word, length, transform);
        let length = usize::try_from(length).map_err(|_| Corrupt)?;
        let bytes = transformed.get(..length).ok_or(Corrupt)?;
        self.take(length)?;
        output.extend(bytes)?;
        Ok(())
    }
}

/// Reads a command and the number of its literals. Returns the part that follows.
fn read_command(block: &MetaBlock, code: usize, bits: &mut Bits<'_>) -> Result<(Part, u32), Stop> {
    let command = block.commands.symbol(code, bits)?;
    let (insert, copy) = COMMANDS
        .get(usize::from(command >> 6))
        .copied()
        .ok_or(Corrupt)?;
    let insert = insert | command >> 3 & 7;
    let literals = read_length(&INSERT_LENGTHS, insert, bits)?;
    let part = Part::CopyLength {
        code: copy | command & 7,
        repeats: command < FIRST_WITH_DISTANCE,
    };
    Ok((part, literals))
}

fn read_length(lengths: &[Range], code: u16, bits: &mut Bits<'_>) -> Result<u32, Stop> {
    let (base, extra) = lengths.get(usize::from(code)).copied().ok_or(Corrupt)?;
    Ok(base.saturating_add(bits.read(extra)?))
}

/// Reads up to `most` literals of one block, and counts them.
fn read_literals(
    block: &MetaBlock,
    most: u32,
    read: &mut u32,
    bits: &mut Bits<'_>,
    output: &mut Output,
) -> Result<(), Stop> {
    let Some((mode, map)) = block.literal_contexts() else {
        while *read < most {
            let literal = block.literals.symbol(0, bits)?;
            output.push(u8::try_from(literal).map_err(|_| Corrupt)?)?;
            *read = read.wrapping_add(1);
        }
        return Ok(());
    };
    let (mut last, mut second) = output.last_two();
    while *read < most {
        let context = mode.context(last, second);
        let code = map.get(usize::from(context)).copied().ok_or(Corrupt)?;
        let literal = block.literals.symbol(code.into(), bits)?;
        let literal = u8::try_from(literal).map_err(|_| Corrupt)?;
        output.push(literal)?;
        (last, second) = (literal, last);
        *read = read.wrapping_add(1);
    }
    Ok(())
}
