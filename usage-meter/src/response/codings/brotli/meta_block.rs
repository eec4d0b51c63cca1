//! The header of a compressed meta-block (RFC 7932, section 9.2): its block types, context maps and codes.

use super::super::bits::{Bits, Stop};
use super::super::error::DecodeError::Corrupt;
use super::super::output::Output;
use super::super::prefix_code::{MAX_SYMBOLS, PrefixCode, PrefixCodes};
use super::block_types::{Blocks, read_count, read_number};
use super::context::ContextMode;
use super::context_map::ContextMap;
use super::description::Description;

/// The number of contexts of a literal and of a distance.
const LITERAL_CONTEXTS: usize = 64;
const DISTANCE_CONTEXTS: usize = 4;
/// The number of symbols of the alphabet of literals.
const LITERAL_SYMBOLS: usize = 256;
/// The number of symbols of the alphabet of block counts.
const COUNT_SYMBOLS: usize = 26;

/// The part of a header that comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Begin,
    /// The number of types of blocks of a kind: 0 literals, 1 commands, 2 distances.
    Types(usize),
    TypeCode(usize),
    CountCode(usize),
    FirstCount(usize),
    /// How distances are written.
    Distances,
    /// The context modes of the types of literals.
    Modes,
    LiteralMap,
    DistanceMap,
    LiteralCodes,
    CommandCodes,
    DistanceCodes,
    End,
}

/// A kind of codes: one for each entry of a map, or each type of block.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) tables: PrefixCodes,
    pub(super) codes: Vec<PrefixCode>,
}

/// The header of a meta-block, as far as it has come.
#[derive(Debug, Default)]
pub(super) struct MetaBlock {
    part: Part,
    description: Description,
    /// The codes of a context map.
    map_codes: PrefixCodes,
    /// The codes of block types and block counts.
    pub(super) block_codes: PrefixCodes,
    /// The blocks of literals, commands and distances.
    pub(super) literal_blocks: Blocks,
    pub(super) command_blocks: Blocks,
    pub(super) distance_blocks: Blocks,
    /// The number of low bits of a distance that its code has.
    pub(super) postfix_bits: u32,
    /// The number of distances that have a code of their own.
    pub(super) direct_distances: u32,
    modes: Vec<ContextMode>,
    literal_map: ContextMap,
    distance_map: ContextMap,
    pub(super) literals: Group,
    pub(super) commands: Group,
    pub(super) distances: Group,
}

// === impl MetaBlock ===

impl MetaBlock {
    /// Reads a header. When it returns, the next one can be read.
    pub(super) fn read(&mut self, bits: &mut Bits<'_>, output: &mut Output) -> Result<(), Stop> {
        while self.part != Part::End {
            self.part = match self.part {
                Part::LiteralMap
                | Part::DistanceMap
                | Part::LiteralCodes
                | Part::CommandCodes
                | Part::DistanceCodes => self.codes(bits, output)?,
                _ => self.block_types(bits, output)?,
            };
        }
        self.part = Part::Begin;
        Ok(())
    }

    /// Reads a part before the context maps. Returns the next.
    fn block_types(&mut self, bits: &mut Bits<'_>, output: &mut Output) -> Result<Part, Stop> {
        Ok(match self.part {
            Part::Begin => {
                self.block_codes.clear();
                Part::Types(0)
            }
            Part::Types(kind) => {
                let types = read_number(bits)?;
                let blocks = self.blocks(kind);
                *blocks = Blocks::default();
                blocks.types = types;
                if types > 1 {
                    Part::TypeCode(kind)
                } else {
                    after_blocks(kind)
                }
            }
            Part::TypeCode(kind) => {
                let symbols = usize::from(self.blocks(kind).types).saturating_add(2);
                let code = self.block_code(symbols, bits, output)?;
                self.blocks(kind).type_code = code;
                Part::CountCode(kind)
            }
            Part::CountCode(kind) => {
                let code = self.block_code(COUNT_SYMBOLS, bits, output)?;
                self.blocks(kind).count_code = code;
                Part::FirstCount(kind)
            }
            Part::FirstCount(kind) => {
                let code = self.blocks(kind).count_code;
                let codes = &self.block_codes;
                let left = bits.at_once(|bits| read_count(code, bits, codes))?;
                self.blocks(kind).left = left;
                after_blocks(kind)
            }
            Part::Distances => {
                let number = bits.at_once(|bits| bits.read(6))?;
                self.postfix_bits = number & 3;
                self.direct_distances = (number >> 2) << self.postfix_bits;
                self.modes.clear();
                Part::Modes
            }
            Part::Modes => {
                let types = usize::from(self.literal_blocks.types);
                let missing = types.saturating_sub(self.modes.len());
                output.allowance().reserve(&mut self.modes, missing)?;
                while self.modes.len() < types {
                    self.modes.push(ContextMode::of(bits.read(2)?));
                }
                Part::LiteralMap
            }
            part => part,
        })
    }

    /// Reads a context map or a group of codes. Returns the next part.
    fn codes(&mut self, bits: &mut Bits<'_>, output: &mut Output) -> Result<Part, Stop> {
        Ok(match self.part {
            Part::LiteralMap => {
                let types = usize::from(self.literal_blocks.types);
                let contexts = types.saturating_mul(LITERAL_CONTEXTS);
                self.literal_map.read(
                    contexts,
                    bits,
                    &mut self.description,
                    &mut self.map_codes,
                    output,
                )?;
                Part::DistanceMap
            }
            Part::DistanceMap => {
                let types = usize::from(self.distance_blocks.types);
                let contexts = types.saturating_mul(DISTANCE_CONTEXTS);
                self.distance_map.read(
                    contexts,
                    bits,
                    &mut self.description,
                    &mut self.map_codes,
                    output,
                )?;
                self.literals.clear();
                self.commands.clear();
                self.distances.clear();
                Part::LiteralCodes
            }
            Part::LiteralCodes => {
                let count = self.literal_map.codes;
                self.literals
                    .read(count, LITERAL_SYMBOLS, bits, &mut self.description, output)?;
                Part::CommandCodes
            }
            Part::CommandCodes => {
                let count = self.command_blocks.types;
                self.commands
                    .read(count, MAX_SYMBOLS, bits, &mut self.description, output)?;
                Part::DistanceCodes
            }
            Part::DistanceCodes => {
                let symbols = (48_u32 << self.postfix_bits)
                    .saturating_add(self.direct_distances)
                    .saturating_add(16);
                let count = self.distance_map.codes;
                self.distances.read(
                    count,
                    symbols as usize,
                    bits,
                    &mut self.description,
                    output,
                )?;
                Part::End
            }
            part => part,
        })
    }

    /// Returns the context mode of the current literals, and the codes of their contexts; `None` if all have
    /// the first code.
    #[inline]
    pub(super) fn literal_contexts(&self) -> Option<(ContextMode, &[u8])> {
        let current = usize::from(self.literal_blocks.current);
        let from = current.saturating_mul(LITERAL_CONTEXTS);
        let to = from.saturating_add(LITERAL_CONTEXTS);
        let map = self.literal_map.entries.get(from..to)?;
        let mode = self.modes.get(current).copied().unwrap_or_default();
        Some((mode, map))
    }

    /// Returns the code of the distance of a copy of this length.
    #[inline]
    pub(super) fn distance_code(&self, copy_length: u32) -> usize {
        let current = usize::from(self.distance_blocks.current);
        let context = copy_length.saturating_sub(2).min(3) as usize;
        let index = current
            .saturating_mul(DISTANCE_CONTEXTS)
            .saturating_add(context);
        let code = self.distance_map.entries.get(index).copied();
        usize::from(code.unwrap_or_default())
    }

    fn blocks(&mut self, kind: usize) -> &mut Blocks {
        match kind {
            0 => &mut self.literal_blocks,
            1 => &mut self.command_blocks,
            _ => &mut self.distance_blocks,
        }
    }

    fn block_code(
        &mut self,
        symbols: usize,
        bits: &mut Bits<'_>,
        output: &mut Output,
    ) -> Result<PrefixCode, Stop> {
        self.description
            .read(symbols, bits, &mut self.block_codes, output)
    }
}

/// Returns the part after the blocks of a kind.
fn after_blocks(kind: usize) -> Part {
    match kind {
        0 | 1 => Part::Types(kind.saturating_add(1)),
        _ => Part::Distances,
    }
}

// === impl Group ===

impl Group {
    fn clear(&mut self) {
        self.tables.clear();
        self.codes.clear();
    }

    /// Reads codes until there are `count`.
    fn read(
        &mut self,
        count: u16,
        symbols: usize,
        bits: &mut Bits<'_>,
        description: &mut Description,
        output: &mut Output,
    ) -> Result<(), Stop> {
        let missing = usize::from(count).saturating_sub(self.codes.len());
        output.allowance().reserve(&mut self.codes, missing)?;
        for _ in 0..missing {
            let code = description.read(symbols, bits, &mut self.tables, output)?;
            self.codes.push(code);
        }
        Ok(())
    }

    /// Reads a symbol of a code.
    #[inline]
    pub(super) fn symbol(&self, code: usize, bits: &mut Bits<'_>) -> Result<u16, Stop> {
        let code = self.codes.get(code).copied().ok_or(Corrupt)?;
        self.tables.read(code, bits)
    }
}
