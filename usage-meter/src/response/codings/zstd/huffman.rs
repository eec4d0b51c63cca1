//! Huffman codes of literals (RFC 8878, section 4.2).

use super::super::error::DecodeError;
use super::super::output::Output;
use super::bits::Backwards;
use super::fse::{State, Table};

/// The maximum length of a code in bits.
const MAX_CODE_BITS: u32 = 11;
/// The maximum number of weights; that of the last symbol is not written.
const MAX_WEIGHTS: usize = 255;

/// The symbol of a code, and the length of the code in bits.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    symbol: u8,
    bits: u8,
}

/// A code, indexed by the next bits, as many as the longest code has.
#[derive(Clone, Debug)]
pub(super) struct Code {
    entries: Vec<Entry>,
    max_bits: u32,
}

// === impl Code ===

impl Code {
    /// Parses the description of a code. Returns the code and the length of the description.
    pub(super) fn read(bytes: &[u8], output: &mut Output) -> Result<(Self, usize), DecodeError> {
        let (&header, rest) = bytes.split_first().ok_or(DecodeError::Corrupt)?;
        let header = usize::from(header);
        let (weights, length) = if let Some(count) = header.checked_sub(127) {
            let length = count.div_ceil(2);
            let packed = rest.get(..length).ok_or(DecodeError::Corrupt)?;
            let weights = packed.iter().flat_map(|byte| [byte >> 4, byte & 15]);
            (weights.take(count).collect(), length)
        } else {
            let packed = rest.get(..header).ok_or(DecodeError::Corrupt)?;
            (read_weights(packed, output)?, header)
        };
        Ok((Self::of_weights(weights, output)?, length.saturating_add(1)))
    }

    /// Returns the code in which a symbol of weight `w` has 2^(w-1) of all entries, and the last symbol has
    /// the rest.
    fn of_weights(mut weights: Vec<u8>, output: &mut Output) -> Result<Self, DecodeError> {
        let mut shares = 0_u32;
        for weight in &weights {
            shares = shares.saturating_add(share(*weight)?);
        }
        let max_bits = shares
            .checked_ilog2()
            .ok_or(DecodeError::Corrupt)?
            .saturating_add(1);
        if max_bits > MAX_CODE_BITS {
            return Err(DecodeError::Corrupt);
        }
        let rest = (1_u32 << max_bits).saturating_sub(shares);
        if !rest.is_power_of_two() {
            return Err(DecodeError::Corrupt);
        }
        let last = rest.ilog2().saturating_add(1);
        weights.push(u8::try_from(last).map_err(|_| DecodeError::Corrupt)?);
        output.work(weights.len().saturating_add(1 << max_bits))?;
        let mut entries = Vec::with_capacity(1 << max_bits);
        for weight in 1..=u8::try_from(max_bits).map_err(|_| DecodeError::Corrupt)? {
            let bits = u8::try_from(max_bits)
                .unwrap_or(u8::MAX)
                .saturating_add(1)
                .saturating_sub(weight);
            for (symbol, _) in (0..=u8::MAX).zip(&weights).filter(|(_, of)| **of == weight) {
                let count = share(weight)? as usize;
                entries.extend(std::iter::repeat_n(Entry { symbol, bits }, count));
            }
        }
        if entries.len() != 1 << max_bits {
            return Err(DecodeError::Corrupt);
        }
        Ok(Self { entries, max_bits })
    }

    /// Decodes a stream of `count` symbols.
    pub(super) fn decode(
        &self,
        bytes: &[u8],
        count: usize,
        literals: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let mut bits = Backwards::new(bytes)?;
        for _ in 0..count {
            let index = usize::try_from(bits.peek(self.max_bits)).unwrap_or(usize::MAX);
            let entry = self.entries.get(index).ok_or(DecodeError::Corrupt)?;
            bits.skip(u32::from(entry.bits));
            literals.push(entry.symbol);
        }
        if bits.left() == 0 {
            Ok(())
        } else {
            Err(DecodeError::Corrupt)
        }
    }
}

/// Returns the number of entries of a symbol with this weight.
fn share(weight: u8) -> Result<u32, DecodeError> {
    match u32::from(weight) {
        0 => Ok(0),
        weight @ 1..=MAX_CODE_BITS => Ok(1 << weight.saturating_sub(1)),
        _ => Err(DecodeError::Corrupt),
    }
}

/// Decodes compressed weights, with two states in turn.
fn read_weights(bytes: &[u8], output: &mut Output) -> Result<Vec<u8>, DecodeError> {
    let (table, length) = Table::read(bytes, usize::from(u8::MAX), 6, output)?;
    let mut bits = Backwards::new(bytes.get(length..).unwrap_or_default())?;
    let mut state = State::new(table.states(), &mut bits)?;
    let mut other = State::new(table.states(), &mut bits)?;
    let mut weights = Vec::new();
    while weights.len() < MAX_WEIGHTS {
        weights.push(state.symbol());
        state.next(&mut bits)?;
        if bits.left() < 0 {
            weights.push(other.symbol());
            return if weights.len() > MAX_WEIGHTS {
                Err(DecodeError::Corrupt)
            } else {
                Ok(weights)
            };
        }
        std::mem::swap(&mut state, &mut other);
    }
    Err(DecodeError::Corrupt)
}
