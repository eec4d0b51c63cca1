//! Huffman codes of literals (RFC 8878, section 4.2).

use super::{
    bits::Backwards,
    fse::{State, Table},
};
use crate::meter::coding::DecodeError;

/// The longest code.
const LONGEST: u32 = 11;
/// The most symbols, without the last, whose weight is not written.
const MOST_WEIGHTS: usize = 255;

/// What the next bits stand for.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    symbol: u8,
    bits: u8,
}

/// A code, by the longest run of bits that can be one.
#[derive(Clone, Debug)]
pub(super) struct Code {
    entries: Vec<Entry>,
    longest: u32,
}

impl Code {
    /// Reads a code's description; also returns its length.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, usize), DecodeError> {
        let (&header, rest) = bytes.split_first().ok_or(DecodeError::Corrupt)?;
        let header = usize::from(header);
        let (weights, length) = if let Some(count) = header.checked_sub(127) {
            let length = count.div_ceil(2);
            let packed = rest.get(..length).ok_or(DecodeError::Corrupt)?;
            let weights = packed.iter().flat_map(|byte| [byte >> 4, byte & 15]);
            (weights.take(count).collect(), length)
        } else {
            let packed = rest.get(..header).ok_or(DecodeError::Corrupt)?;
            (read_weights(packed)?, header)
        };
        Ok((Self::of_weights(weights)?, length.saturating_add(1)))
    }

    /// The code in which a symbol of weight `w` takes 2^(w-1) shares of all; the last symbol takes the rest.
    fn of_weights(mut weights: Vec<u8>) -> Result<Self, DecodeError> {
        let mut shares = 0_u32;
        for weight in &weights {
            shares = shares.saturating_add(share(*weight)?);
        }
        let longest = shares
            .checked_ilog2()
            .ok_or(DecodeError::Corrupt)?
            .saturating_add(1);
        if longest > LONGEST {
            return Err(DecodeError::Corrupt);
        }
        let rest = (1_u32 << longest).saturating_sub(shares);
        if !rest.is_power_of_two() {
            return Err(DecodeError::Corrupt);
        }
        let last = rest.ilog2().saturating_add(1);
        weights.push(u8::try_from(last).map_err(|_| DecodeError::Corrupt)?);
        let mut entries = Vec::with_capacity(1 << longest);
        for weight in 1..=u8::try_from(longest).map_err(|_| DecodeError::Corrupt)? {
            let bits = u8::try_from(longest)
                .unwrap_or(u8::MAX)
                .saturating_add(1)
                .saturating_sub(weight);
            for (symbol, _) in (0..=u8::MAX).zip(&weights).filter(|(_, of)| **of == weight) {
                let count = share(weight)? as usize;
                entries.extend(std::iter::repeat_n(Entry { symbol, bits }, count));
            }
        }
        if entries.len() != 1 << longest {
            return Err(DecodeError::Corrupt);
        }
        Ok(Self { entries, longest })
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
            let index = usize::try_from(bits.peek(self.longest)).unwrap_or(usize::MAX);
            let entry = self.entries.get(index).ok_or(DecodeError::Corrupt)?;
            bits.read(u32::from(entry.bits));
            literals.push(entry.symbol);
        }
        if bits.left() == 0 {
            Ok(())
        } else {
            Err(DecodeError::Corrupt)
        }
    }
}

fn share(weight: u8) -> Result<u32, DecodeError> {
    match u32::from(weight) {
        0 => Ok(0),
        weight @ 1..=LONGEST => Ok(1 << weight.saturating_sub(1)),
        _ => Err(DecodeError::Corrupt),
    }
}

/// Reads weights that are compressed themselves, by two states in turn.
fn read_weights(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let (table, length) = Table::read(bytes, usize::from(u8::MAX), 6)?;
    let mut bits = Backwards::new(bytes.get(length..).unwrap_or_default())?;
    let mut state = State::new(&table, &mut bits)?;
    let mut other = State::new(&table, &mut bits)?;
    let mut weights = Vec::new();
    while weights.len() < MOST_WEIGHTS {
        weights.push(state.symbol());
        state.next(&mut bits)?;
        if bits.left() < 0 {
            weights.push(other.symbol());
            return if weights.len() > MOST_WEIGHTS {
                Err(DecodeError::Corrupt)
            } else {
                Ok(weights)
            };
        }
        std::mem::swap(&mut state, &mut other);
    }
    Err(DecodeError::Corrupt)
}
