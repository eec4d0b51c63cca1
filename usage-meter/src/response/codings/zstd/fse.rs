//! Finite state entropy coding (RFC 8878, section 4.1).

use super::super::error::DecodeError;
use super::super::output::Output;
use super::bits::{Backwards, Forwards};

/// The maximum number of symbols of a table.
const MAX_SYMBOLS: usize = 256;

/// The symbol of a state, and how to compute the next state.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    symbol: u8,
    bits: u8,
    base: u16,
}

/// A table of states.
#[derive(Clone, Debug)]
pub(super) struct Table {
    entries: Vec<Entry>,
    accuracy: u32,
}

/// The number of states of the largest default table.
const DEFAULT_STATES: usize = 64;

/// A default table, which all decoders share: it takes none of their memory.
#[derive(Debug)]
pub(super) struct DefaultTable {
    entries: [Entry; DEFAULT_STATES],
    accuracy: u32,
}

/// The states of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct States<'a> {
    entries: &'a [Entry],
    accuracy: u32,
}

/// The current state in a table.
#[derive(Debug)]
pub(super) struct State<'a> {
    entries: &'a [Entry],
    entry: Entry,
}

// === impl Table ===

impl Table {
    /// Returns a table of one symbol.
    pub(super) fn of_one(symbol: u8) -> Self {
        let entry = Entry {
            symbol,
            ..Entry::default()
        };
        Self {
            entries: vec![entry],
            accuracy: 0,
        }
    }

    /// Parses the description of a table. Returns the table and the length of the description.
    pub(super) fn read(
        bytes: &[u8],
        max_symbols: usize,
        max_accuracy: u32,
        output: &mut Output,
    ) -> Result<(Self, usize), DecodeError> {
        let mut bits = Forwards::new(bytes);
        let accuracy = u32::try_from(bits.read(4))
            .unwrap_or(u32::MAX)
            .saturating_add(5);
        if accuracy > max_accuracy {
            return Err(DecodeError::Corrupt);
        }
        let mut left = 1_u64.checked_shl(accuracy).ok_or(DecodeError::Corrupt)?;
        let mut shares: Vec<i16> = Vec::new();
        while left > 0 {
            if shares.len() >= max_symbols {
                return Err(DecodeError::Corrupt);
            }
            let share = read_share(&mut bits, left)?;
            left = left
                .checked_sub(u64::from(share.unsigned_abs()))
                .ok_or(DecodeError::Corrupt)?;
            shares.push(share);
            // Two bits are the number of further shares that are 0; at three, two more bits follow.
            let mut zeros = if share == 0 { 3 } else { 0 };
            while zeros == 3 && shares.len() <= max_symbols {
                zeros = usize::try_from(bits.read(2)).unwrap_or(0);
                shares.extend(std::iter::repeat_n(0, zeros));
            }
        }
        if shares.len() > max_symbols {
            return Err(DecodeError::Corrupt);
        }
        let size = 1_usize.checked_shl(accuracy).ok_or(DecodeError::Corrupt)?;
        output.work(size.saturating_add(shares.len()))?;
        Ok((Self::of_shares(&shares, accuracy)?, bits.bytes_read()?))
    }

    pub(super) fn states(&self) -> States<'_> {
        States {
            entries: &self.entries,
            accuracy: self.accuracy,
        }
    }

    /// Returns the table in which each symbol has its share of the states; -1 is less than one.
    fn of_shares(shares: &[i16], accuracy: u32) -> Result<Self, DecodeError> {
        let size = 1_usize.checked_shl(accuracy).ok_or(DecodeError::Corrupt)?;
        let mut symbols = vec![0_u8; size];
        let mut next = [0_u16; MAX_SYMBOLS];
        // Rare symbols take the last states.
        let mut end = size;
        for (symbol, share) in (0..=u8::MAX).zip(shares) {
            if let Some(next) = next.get_mut(usize::from(symbol)) {
                *next = share.unsigned_abs();
            }
            if *share < 0 {
                end = end.checked_sub(1).ok_or(DecodeError::Corrupt)?;
                *symbols.get_mut(end).ok_or(DecodeError::Corrupt)? = symbol;
            }
        }
        // The others are spread over what is left.
        let step = (size >> 1).saturating_add(size >> 3).saturating_add(3);
        let mask = size.saturating_sub(1);
        let mut at = 0_usize;
        for (symbol, share) in (0..=u8::MAX).zip(shares) {
            for _ in 0..(*share).max(0) {
                *symbols.get_mut(at).ok_or(DecodeError::Corrupt)? = symbol;
                at = at.saturating_add(step) & mask;
                // `step` is odd, so it reaches each state once before the first one again.
                while at >= end && end > 0 {
                    at = at.saturating_add(step) & mask;
                }
            }
        }
        if at != 0 {
            return Err(DecodeError::Corrupt);
        }
        let entries = symbols.into_iter().map(|symbol| {
            let next = next.get_mut(usize::from(symbol))?;
            let state = *next;
            *next = state.checked_add(1)?;
            let bits = accuracy.checked_sub(state.checked_ilog2()?)?;
            let base = usize::from(state).checked_shl(bits)?.checked_sub(size)?;
            Some(Entry {
                symbol,
                bits: u8::try_from(bits).ok()?,
                base: u16::try_from(base).ok()?,
            })
        });
        Ok(Self {
            entries: entries.collect::<Option<_>>().ok_or(DecodeError::Corrupt)?,
            accuracy,
        })
    }
}

// === impl DefaultTable ===

impl DefaultTable {
    /// Returns the table of the shares that the RFC gives.
    pub(super) fn of_shares(shares: &[i16], accuracy: u32) -> Result<Self, DecodeError> {
        let table = Table::of_shares(shares, accuracy)?;
        let mut entries = [Entry::default(); DEFAULT_STATES];
        let states = entries.get_mut(..table.entries.len());
        states
            .ok_or(DecodeError::Corrupt)?
            .copy_from_slice(&table.entries);
        Ok(Self { entries, accuracy })
    }

    pub(super) fn states(&self) -> States<'_> {
        States {
            entries: &self.entries,
            accuracy: self.accuracy,
        }
    }
}

// === impl State ===

impl<'a> State<'a> {
    pub(super) fn new(states: States<'a>, bits: &mut Backwards<'_>) -> Result<Self, DecodeError> {
        let mut state = Self {
            entries: states.entries,
            entry: Entry::default(),
        };
        state.enter(bits.read(states.accuracy))?;
        Ok(state)
    }

    pub(super) fn symbol(&self) -> u8 {
        self.entry.symbol
    }

    pub(super) fn next(&mut self, bits: &mut Backwards<'_>) -> Result<(), DecodeError> {
        let offset = bits.read(u32::from(self.entry.bits));
        self.enter(offset.saturating_add(u64::from(self.entry.base)))
    }

    fn enter(&mut self, state: u64) -> Result<(), DecodeError> {
        let entry = usize::try_from(state)
            .ok()
            .and_then(|state| self.entries.get(state));
        self.entry = *entry.ok_or(DecodeError::Corrupt)?;
        Ok(())
    }
}

/// Reads the share of a symbol, of the `left` states.
fn read_share(bits: &mut Forwards<'_>, left: u64) -> Result<i16, DecodeError> {
    let values = left.saturating_add(1);
    let width = values.checked_ilog2().unwrap_or(0).saturating_add(1);
    let value = bits.read(width);
    let half = 1_u64
        .checked_shl(width.saturating_sub(1))
        .ok_or(DecodeError::Corrupt)?;
    let low = value & half.saturating_sub(1);
    // The number of values that need one bit less.
    let short = half
        .saturating_mul(2)
        .saturating_sub(1)
        .saturating_sub(values);
    let value = if low < short {
        bits.unread();
        low
    } else if value >= half {
        value.saturating_sub(short)
    } else {
        value
    };
    let value = i16::try_from(value).map_err(|_| DecodeError::Corrupt)?;
    Ok(value.saturating_sub(1))
}
