//! `deflate`: the zlib format (RFC 1950), or raw DEFLATE (RFC 1951), which some servers send instead.

use super::bits::{Bits, Stop, UnreadBits};
use super::coding::Coding;
use super::error::DecodeError;
use super::inflate::Inflate;
use super::output::Output;

/// The part that comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// The format, which the first byte shows.
    #[default]
    Format,
    /// The header of the zlib format.
    Header,
    Blocks,
    End,
}

/// The `deflate` coding. A checksum after the blocks is ignored.
#[derive(Debug, Default)]
pub(super) struct Deflate {
    part: Part,
    unread: UnreadBits,
    inflate: Inflate,
}

// === impl Deflate ===

impl Deflate {
    fn step(&mut self, bits: &mut Bits<'_>, output: &mut Output) -> Result<Part, Stop> {
        match self.part {
            Part::Format => {
                let (word, count) = bits.peek(8);
                if count < 8 {
                    return Err(Stop::Input);
                }
                self.inflate.begin(output);
                // Zlib starts with method 8 and a window of at most 2^15 bytes. A raw block starts so only if it
                // is stored, is not the last, and has padding that is not zero.
                let is_zlib = word & 0x0f == 8 && word >> 4 & 15 <= 7;
                Ok(if is_zlib { Part::Header } else { Part::Blocks })
            }
            Part::Header => {
                let header = bits.at_once(|bits| bits.read(16))?;
                let checked = (header & 0xff) << 8 | header >> 8;
                let has_dictionary = header & 0x2000 != 0;
                if checked % 31 != 0 || has_dictionary {
                    return Err(DecodeError::Corrupt.into());
                }
                Ok(Part::Blocks)
            }
            Part::Blocks => {
                self.inflate.run(bits, output)?;
                Ok(Part::End)
            }
            Part::End => Err(Stop::End),
        }
    }
}

impl Coding for Deflate {
    fn decode(&mut self, input: &mut &[u8], output: &mut Output) -> Result<(), DecodeError> {
        let mut unread = std::mem::take(&mut self.unread);
        let result = unread.decode(input, |bits| {
            self.part = self.step(bits, output)?;
            Ok(())
        });
        self.unread = unread;
        result
    }

    fn has_ended(&self) -> bool {
        self.part == Part::End
    }
}
