//! Block types (RFC 7932, section 6): literals, commands and distances are divided into blocks, each of a type
//! that has codes of its own.

use super::super::bits::{Bits, Stop};
use super::super::error::DecodeError::Corrupt;
use super::super::prefix_code::{PrefixCode, PrefixCodes};
use super::tables::BLOCK_COUNTS;

/// The length of a block if there is only one.
const ONLY_BLOCK: u32 = 1 << 24;

/// The blocks of literals, commands or distances in a meta-block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    /// The number of types.
    pub(super) types: u16,
    /// The type of the current block.
    pub(super) current: u16,
    previous: u16,
    /// What is left of the current block.
    pub(super) left: u32,
    pub(super) type_code: PrefixCode,
    pub(super) count_code: PrefixCode,
}

// === impl Blocks ===

impl Default for Blocks {
    fn default() -> Self {
        Self {
            types: 1,
            current: 0,
            previous: 1,
            left: ONLY_BLOCK,
            type_code: PrefixCode::default(),
            count_code: PrefixCode::default(),
        }
    }
}

impl Blocks {
    /// Takes one item of the current block. Reads the next block first if the current one has ended.
    #[inline]
    pub(super) fn take(&mut self, bits: &mut Bits<'_>, codes: &PrefixCodes) -> Result<(), Stop> {
        if self.left == 0 {
            self.switch(bits, codes)?;
        }
        self.left = self.left.wrapping_sub(1);
        Ok(())
    }

    /// Puts back an item that was taken, because it has not come yet.
    pub(super) fn put_back(&mut self) {
        self.left = self.left.saturating_add(1);
    }

    /// Reads the next block.
    #[cold]
    pub(super) fn switch(&mut self, bits: &mut Bits<'_>, codes: &PrefixCodes) -> Result<(), Stop> {
        if self.types < 2 {
            return Err(Corrupt.into());
        }
        let (code, left) = bits.at_once(|bits| {
            let code = codes.read(self.type_code, bits)?;
            Ok((code, read_count(self.count_code, bits, codes)?))
        })?;
        let next = match code {
            0 => self.previous,
            1 => self.current.saturating_add(1),
            code => code.saturating_sub(2),
        };
        let next = if next >= self.types {
            next.saturating_sub(self.types)
        } else {
            next
        };
        self.previous = self.current;
        self.current = next;
        self.left = left;
        Ok(())
    }
}

/// Reads the length of a block, which is at least 1.
pub(super) fn read_count(
    code: PrefixCode,
    bits: &mut Bits<'_>,
    codes: &PrefixCodes,
) -> Result<u32, Stop> {
    let symbol = codes.read(code, bits)?;
    let (base, extra) = BLOCK_COUNTS
        .get(usize::from(symbol))
        .copied()
        .ok_or(Corrupt)?;
    Ok(base.saturating_add(bits.read(extra)?))
}

/// Reads a number from 1 to 256.
pub(super) fn read_number(bits: &mut Bits<'_>) -> Result<u16, Stop> {
    let number = bits.at_once(|bits| {
        if bits.read(1)? == 0 {
            return Ok(1);
        }
        let width = bits.read(3)?;
        Ok((1_u32 << width)
            .saturating_add(bits.read(width)?)
            .saturating_add(1))
    })?;
    u16::try_from(number).map_err(|_| Corrupt.into())
}
