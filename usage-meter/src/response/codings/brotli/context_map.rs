//! Context maps (RFC 7932, section 7.3): the code of each context of each block type.

use super::super::bits::{Bits, Stop};
use super::super::error::DecodeError::Corrupt;
use super::super::output::Output;
use super::super::prefix_code::{PrefixCode, PrefixCodes};
use super::block_types::read_number;
use super::description::Description;

/// The work of moving a number to the front of the list.
const MOVE_WORK: usize = 8;

/// The part of a map that comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// The number of codes.
    #[default]
    Codes,
    /// The number of kinds of runs of zeros.
    Runs,
    /// The code of the map.
    Description { runs: u16 },
    /// The entries.
    Entries { runs: u16, code: PrefixCode },
    /// Whether the entries are to be transformed.
    Transform,
}

/// A context map.
#[derive(Debug, Default)]
pub(super) struct ContextMap {
    part: Part,
    /// The number of codes.
    pub(super) codes: u16,
    /// The code of each context; empty if there is only one.
    pub(super) entries: Vec<u8>,
}

// === impl ContextMap ===

impl ContextMap {
    /// Reads a map of so many contexts.
    pub(super) fn read(
        &mut self,
        contexts: usize,
        bits: &mut Bits<'_>,
        description: &mut Description,
        codes: &mut PrefixCodes,
        output: &mut Output,
    ) -> Result<(), Stop> {
        loop {
            self.part = match self.part {
                Part::Codes => {
                    self.codes = read_number(bits)?;
                    self.entries.clear();
                    if self.codes == 1 {
                        return Ok(());
                    }
                    output.work(contexts)?;
                    output
                        .allowance()
                        .reserve_exact(&mut self.entries, contexts)?;
                    Part::Runs
                }
                Part::Runs => Part::Description {
                    runs: bits.at_once(|bits| match bits.read(1)? {
                        0 => Ok(0),
                        _ => Ok(u16::try_from(bits.read(4)?).unwrap_or(0).saturating_add(1)),
                    })?,
                },
                Part::Description { runs } => {
                    let symbols = usize::from(self.codes.saturating_add(runs));
                    codes.clear();
                    let code = description.read(symbols, bits, codes, output)?;
                    Part::Entries { runs, code }
                }
                Part::Entries { runs, code } => {
                    while self.entries.len() < contexts {
                        self.entry(contexts, runs, code, bits, codes)?;
                    }
                    Part::Transform
                }
                Part::Transform => {
                    if bits.read(1)? == 1 {
                        output.work(contexts.saturating_mul(MOVE_WORK))?;
                        move_to_front(&mut self.entries);
                    }
                    self.part = Part::Codes;
                    return Ok(());
                }
            };
        }
    }

    /// Reads an entry, or a run of zeros.
    fn entry(
        &mut self,
        contexts: usize,
        runs: u16,
        code: PrefixCode,
        bits: &mut Bits<'_>,
        codes: &PrefixCodes,
    ) -> Result<(), Stop> {
        let (symbol, count) = bits.at_once(|bits| {
            let symbol = codes.read(code, bits)?;
            if symbol == 0 || symbol > runs {
                return Ok((symbol.saturating_sub(runs), 1));
            }
            let extra = bits.read(symbol.into())?;
            Ok((0, (1_u32 << symbol).saturating_add(extra)))
        })?;
        let end = self.entries.len().saturating_add(count as usize);
        if end > contexts {
            return Err(Corrupt.into());
        }
        let entry = u8::try_from(symbol).map_err(|_| Corrupt)?;
        self.entries.resize(end, entry);
        Ok(())
    }
}

/// Replaces each entry, the place of a number in a list, by the number, which is moved to the front of the list.
fn move_to_front(entries: &mut [u8]) {
    let mut list = [0_u8; 256];
    for (slot, number) in list.iter_mut().zip(0..=u8::MAX) {
        *slot = number;
    }
    for entry in entries {
        let place = usize::from(*entry);
        *entry = list.get(place).copied().unwrap_or_default();
        if let Some(moved) = list.get_mut(..=place) {
            moved.rotate_right(1);
        }
    }
}
