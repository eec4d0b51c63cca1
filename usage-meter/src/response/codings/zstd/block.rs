//! Compressed blocks (RFC 8878, section 3.1.1.3): literals, and sequences that combine them with matches
//! of earlier bytes.

use std::sync::LazyLock;

use super::super::error::DecodeError::{self, Corrupt};
use super::super::output::Output;
use super::bits::Backwards;
use super::fse::{DefaultTable, State, States, Table};
use super::huffman::Code;

/// The maximum size of a block in any window.
const MAX_BLOCK_BYTES: usize = 128 * 1024;

/// The work of a sequence beside its bytes.
const SEQUENCE_WORK: usize = 4;

/// The minimum length and the number of further bits of the literal length codes 16 and up. Lower codes
/// are the length itself.
const LITERALS: &[(u32, u32)] = &[
    (16, 1),
    (18, 1),
    (20, 1),
    (22, 1),
    (24, 2),
    (28, 2),
    (32, 3),
    (40, 3),
    (48, 4),
    (64, 6),
    (128, 7),
    (256, 8),
    (512, 9),
    (1024, 10),
    (2048, 11),
    (4096, 12),
    (8192, 13),
    (16384, 14),
    (32768, 15),
    (65536, 16),
];
/// The same of the match length codes 32 and up. Lower codes are three less than the length.
const MATCHES: &[(u32, u32)] = &[
    (35, 1),
    (37, 1),
    (39, 1),
    (41, 1),
    (43, 2),
    (47, 2),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 5),
    (131, 7),
    (259, 8),
    (515, 9),
    (1027, 10),
    (2051, 11),
    (4099, 12),
    (8195, 13),
    (16387, 14),
    (32771, 15),
    (65539, 16),
];

/// The symbols that a table is for.
struct Alphabet {
    symbols: usize,
    /// The maximum accuracy of a table.
    accuracy: u32,
    /// The default table.
    default: LazyLock<Result<DefaultTable, DecodeError>>,
}

static LITERAL_LENGTHS: Alphabet = Alphabet {
    symbols: 36,
    accuracy: 9,
    default: LazyLock::new(|| {
        let shares = [
            4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1,
            1, 1, 1, -1, -1, -1, -1,
        ];
        DefaultTable::of_shares(&shares, 6)
    }),
};
static OFFSETS: Alphabet = Alphabet {
    symbols: 32,
    accuracy: 8,
    default: LazyLock::new(|| {
        let shares = [
            1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1,
            -1,
        ];
        DefaultTable::of_shares(&shares, 5)
    }),
};
static MATCH_LENGTHS: Alphabet = Alphabet {
    symbols: 53,
    accuracy: 9,
    default: LazyLock::new(|| {
        let shares = [
            1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
            1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
        ];
        DefaultTable::of_shares(&shares, 6)
    }),
};

/// The table of a kind of symbols.
#[derive(Debug)]
enum Current {
    Default(&'static DefaultTable),
    Own(Table),
}

/// The state that a block of a frame leaves to the next.
#[derive(Debug)]
pub(super) struct Context {
    code: Option<Code>,
    literal_lengths: Option<Current>,
    offsets: Option<Current>,
    match_lengths: Option<Current>,
    /// The last three distances, the latest first.
    recent: [usize; 3],
    literals: Vec<u8>,
    /// The maximum size of a block, encoded or decoded.
    max_block_bytes: usize,
}

// === impl Current ===

impl Current {
    fn states(&self) -> States<'_> {
        match self {
            Self::Default(table) => table.states(),
            Self::Own(table) => table.states(),
        }
    }
}

// === impl Context ===

impl Context {
    /// Returns the state at the beginning of a frame with a window of this size.
    pub(super) fn new(window_bytes: usize) -> Self {
        Self {
            code: None,
            literal_lengths: None,
            offsets: None,
            match_lengths: None,
            recent: [1, 4, 8],
            literals: Vec::new(),
            max_block_bytes: window_bytes.min(MAX_BLOCK_BYTES),
        }
    }

    /// Begins another frame, which repeats no table of the one before it.
    pub(super) fn begin(&mut self, window_bytes: usize) {
        let mut literals = std::mem::take(&mut self.literals);
        literals.clear();
        *self = Self {
            literals,
            ..Self::new(window_bytes)
        };
    }

    /// Returns the maximum size of a block, encoded or decoded: the window, or 128 KiB.
    pub(super) fn max_block_bytes(&self) -> usize {
        self.max_block_bytes
    }

    /// Decodes a block.
    pub(super) fn decode(&mut self, block: &[u8], output: &mut Output) -> Result<(), DecodeError> {
        let sequences = self.literals(block, output)?;
        self.sequences(sequences, output)
    }

    /// Reads the literals of a block. Returns what follows them.
    fn literals<'a>(
        &mut self,
        block: &'a [u8],
        output: &mut Output,
    ) -> Result<&'a [u8], DecodeError> {
        self.literals.clear();
        let header = block
            .iter()
            .take(5)
            .rev()
            .fold(0_u64, |header, byte| header << 8 | u64::from(*byte));
        let field = |from: u32, bits: u32| {
            let mask = (1_u64 << bits).saturating_sub(1);
            usize::try_from(header >> from & mask).map_err(|_| Corrupt)
        };
        let kind = field(0, 2)?;
        let format = field(2, 2)?;
        if kind < 2 {
            let (size, length) = match format {
                1 => (field(4, 12)?, 2),
                3 => (field(4, 20)?, 3),
                _ => (field(3, 5)?, 1),
            };
            if size > self.max_block_bytes {
                return Err(Corrupt);
            }
            output.allowance().reserve_exact(&mut self.literals, size)?;
            let rest = block.get(length..).ok_or(Corrupt)?;
            if kind == 0 {
                let (literals, rest) = rest.split_at_checked(size).ok_or(Corrupt)?;
                self.literals.extend_from_slice(literals);
                return Ok(rest);
            }
            let (&byte, rest) = rest.split_first().ok_or(Corrupt)?;
            self.literals.resize(size, byte);
            return Ok(rest);
        }
        let (bits, length) = match format {
            0 | 1 => (10, 3),
            2 => (14, 4),
            _ => (18, 5),
        };
        let size = field(4, bits)?;
        let compressed = field(bits.saturating_add(4), bits)?;
        if size > self.max_block_bytes {
            return Err(Corrupt);
        }
        output.allowance().reserve_exact(&mut self.literals, size)?;
        let rest = block.get(length..).ok_or(Corrupt)?;
        let (mut streams, rest) = rest.split_at_checked(compressed).ok_or(Corrupt)?;
        if kind == 2 {
            let (code, length) = Code::read(streams, output)?;
            self.code = Some(code);
            streams = streams.get(length..).ok_or(Corrupt)?;
        }
        let code = self.code.as_ref().ok_or(Corrupt)?;
        if format == 0 {
            code.decode(streams, size, &mut self.literals)?;
        } else {
            decode_four(code, streams, size, &mut self.literals)?;
        }
        Ok(rest)
    }

    /// Reads and executes the sequences of a block.
    fn sequences(&mut self, bytes: &[u8], output: &mut Output) -> Result<(), DecodeError> {
        let (count, bytes) = match *bytes {
            [first @ 0..=127, ref rest @ ..] => (usize::from(first), rest),
            [first @ 128..=254, second, ref rest @ ..] => {
                (usize::from(first & 127) << 8 | usize::from(second), rest)
            }
            [255, second, third, ref rest @ ..] => {
                let count = usize::from(u16::from_le_bytes([second, third]));
                (count.saturating_add(0x7f00), rest)
            }
            _ => return Err(Corrupt),
        };
        if count == 0 && !bytes.is_empty() {
            return Err(Corrupt);
        }
        let mut left_bytes = self.max_block_bytes;
        let mut literals = std::mem::take(&mut self.literals);
        let mut used = 0_usize;
        if count > 0 {
            let (modes, bytes) = bytes.split_first().ok_or(Corrupt)?;
            if modes & 3 != 0 {
                return Err(Corrupt);
            }
            let bytes = read_table(
                &mut self.literal_lengths,
                modes >> 6,
                &LITERAL_LENGTHS,
                bytes,
                output,
            )?;
            let bytes = read_table(&mut self.offsets, modes >> 4 & 3, &OFFSETS, bytes, output)?;
            let bytes = read_table(
                &mut self.match_lengths,
                modes >> 2 & 3,
                &MATCH_LENGTHS,
                bytes,
                output,
            )?;
            let mut bits = Backwards::new(bytes)?;
            // The next block may repeat the tables, so they are put back below.
            let literal_lengths = self.literal_lengths.take().ok_or(Corrupt)?;
            let offsets = self.offsets.take().ok_or(Corrupt)?;
            let match_lengths = self.match_lengths.take().ok_or(Corrupt)?;
            let mut literal_length = State::new(literal_lengths.states(), &mut bits)?;
            let mut offset = State::new(offsets.states(), &mut bits)?;
            let mut match_length = State::new(match_lengths.states(), &mut bits)?;
            output.work(count.saturating_mul(SEQUENCE_WORK))?;
            for left in (0..count).rev() {
                let value = read_offset(offset.symbol(), &mut bits)?;
                let matched = read_length(match_length.symbol(), 3, 32, MATCHES, &mut bits)?;
                let literal = read_length(literal_length.symbol(), 0, 16, LITERALS, &mut bits)?;
                if left > 0 {
                    literal_length.next(&mut bits)?;
                    match_length.next(&mut bits)?;
                    offset.next(&mut bits)?;
                }
                let distance = self.distance(value, literal == 0)?;
                let end = used.saturating_add(literal);
                left_bytes = left_bytes
                    .checked_sub(literal)
                    .and_then(|left| left.checked_sub(matched))
                    .ok_or(Corrupt)?;
                output.extend(literals.get(used..end).ok_or(Corrupt)?)?;
                used = end;
                output.copy(distance, matched)?;
            }
            if bits.left() != 0 {
                return Err(Corrupt);
            }
            self.literal_lengths = Some(literal_lengths);
            self.offsets = Some(offsets);
            self.match_lengths = Some(match_lengths);
        }
        let rest = literals.get(used..).unwrap_or_default();
        if rest.len() > left_bytes {
            return Err(Corrupt);
        }
        output.extend(rest)?;
        literals.clear();
        self.literals = literals;
        Ok(())
    }

    /// Returns how far back a match starts: one of the recent distances, or a new one.
    fn distance(&mut self, value: usize, no_literals: bool) -> Result<usize, DecodeError> {
        let [first, second, third] = self.recent;
        let distance = match (value, no_literals) {
            (0, _) => return Err(Corrupt),
            (1, false) => return Ok(first),
            (2, false) | (1, true) => {
                self.recent = [second, first, third];
                return Ok(second);
            }
            (3, false) | (2, true) => third,
            (3, true) => first.checked_sub(1).filter(|it| *it > 0).ok_or(Corrupt)?,
            (value, _) => value.saturating_sub(3),
        };
        self.recent = [distance, first, second];
        Ok(distance)
    }
}

/// Decodes four streams of about the same length.
fn decode_four(
    code: &Code,
    bytes: &[u8],
    size: usize,
    literals: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let (lengths, mut rest) = bytes.split_at_checked(6).ok_or(Corrupt)?;
    let each = size.div_ceil(4);
    for length in lengths.chunks_exact(2) {
        let length = length
            .first_chunk::<2>()
            .map_or(0, |length| u16::from_le_bytes(*length));
        let (stream, others) = rest.split_at_checked(usize::from(length)).ok_or(Corrupt)?;
        code.decode(stream, each, literals)?;
        rest = others;
    }
    let last = size.checked_sub(each.saturating_mul(3)).ok_or(Corrupt)?;
    code.decode(rest, last, literals)
}

/// Sets the table of a mode. Returns what follows its description.
fn read_table<'a>(
    table: &mut Option<Current>,
    mode: u8,
    alphabet: &'static Alphabet,
    bytes: &'a [u8],
    output: &mut Output,
) -> Result<&'a [u8], DecodeError> {
    match mode {
        0 => {
            let default = alphabet.default.as_ref().map_err(|error| *error)?;
            *table = Some(Current::Default(default));
            Ok(bytes)
        }
        1 => {
            let (&symbol, rest) = bytes.split_first().ok_or(Corrupt)?;
            *table = Some(Current::Own(Table::of_one(symbol)));
            Ok(rest)
        }
        2 => {
            let (read, length) = Table::read(bytes, alphabet.symbols, alphabet.accuracy, output)?;
            *table = Some(Current::Own(read));
            bytes.get(length..).ok_or(Corrupt)
        }
        _ => table.is_some().then_some(bytes).ok_or(Corrupt),
    }
}

fn read_offset(code: u8, bits: &mut Backwards<'_>) -> Result<usize, DecodeError> {
    if usize::from(code) >= OFFSETS.symbols {
        return Err(Corrupt);
    }
    let base = 1_u64.checked_shl(u32::from(code)).ok_or(Corrupt)?;
    let value = base.saturating_add(bits.read(u32::from(code)));
    usize::try_from(value).map_err(|_| Corrupt)
}

/// Returns the length of a code: the code plus `more` if it is below `from`, or else that of the table.
fn read_length(
    code: u8,
    more: usize,
    from: u8,
    table: &[(u32, u32)],
    bits: &mut Backwards<'_>,
) -> Result<usize, DecodeError> {
    let Some(above) = code.checked_sub(from) else {
        return Ok(usize::from(code).saturating_add(more));
    };
    let (base, width) = table.get(usize::from(above)).ok_or(Corrupt)?;
    let value = u64::from(*base).saturating_add(bits.read(*width));
    usize::try_from(value).map_err(|_| Corrupt)
}
