//! `br` (RFC 7932): meta-blocks of commands, each of which inserts literals and copies earlier bytes or a word
//! of a dictionary.
//!
//! Bytes are decoded as far as the input allows, so that an event is read as soon as the server flushes it. All
//! memory grows with what is read: neither a large window nor a header that asks for many codes costs anything
//! before its bytes have come.

use super::bits::{Bits, Stop, UnreadBits};
use super::coding::Coding;
use super::error::DecodeError;
use super::output::Output;
use commands::Commands;
use meta_block::MetaBlock;

mod block_types;
mod commands;
mod context;
mod context_map;
mod description;
mod meta_block;
mod tables;

/// The maximum number of bytes that matches can go back: what encoders use by default, doubled. Encoders
/// may be set to go back 16 MiB.
const MAX_WINDOW_BYTES: usize = 8 << 20;

/// The part that comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// The size of the window.
    #[default]
    Window,
    /// The first bits of a meta-block.
    Begin,
    /// Metadata, with the number of bytes that are missing.
    Metadata(usize),
    /// Bytes that are not compressed, with the number of those that are missing.
    Uncompressed(usize),
    /// The header of a compressed meta-block.
    Header,
    Commands,
    End,
}

/// The `br` coding. See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Brotli {
    unread: UnreadBits,
    part: Part,
    /// Whether the current meta-block is the last.
    is_last: bool,
    meta_block: MetaBlock,
    commands: Commands,
}

// === impl Brotli ===

impl Brotli {
    fn step(&mut self, bits: &mut Bits<'_>, output: &mut Output) -> Result<Part, Stop> {
        match self.part {
            Part::Window => {
                let window = bits.at_once(read_window)?;
                self.commands.set_window(window);
                output.begin(window.min(MAX_WINDOW_BYTES));
                Ok(Part::Begin)
            }
            Part::Begin => {
                let (part, is_last, length) = bits.at_once(begin)?;
                self.is_last = is_last;
                self.commands.begin(length);
                Ok(part)
            }
            Part::Metadata(left) => {
                let read = bits.bytes(left, |_| Ok(()))?;
                self.after_bytes(left, read, bits, Part::Metadata)
            }
            Part::Uncompressed(left) => {
                if output.is_full() {
                    return Err(Stop::Output);
                }
                let read = bits.bytes(left, |bytes| output.extend(bytes))?;
                self.commands.add_position(read);
                self.after_bytes(left, read, bits, Part::Uncompressed)
            }
            Part::Header => {
                self.meta_block.read(bits, output)?;
                Ok(Part::Commands)
            }
            Part::Commands => {
                self.commands.run(&mut self.meta_block, bits, output)?;
                self.after_meta_block(bits)
            }
            Part::End => Err(Stop::End),
        }
    }

    fn after_bytes(
        &mut self,
        left: usize,
        read: usize,
        bits: &mut Bits<'_>,
        part: impl Fn(usize) -> Part,
    ) -> Result<Part, Stop> {
        match left.saturating_sub(read) {
            0 => self.after_meta_block(bits),
            _ if read == 0 => Err(Stop::Input),
            left => Ok(part(left)),
        }
    }

    fn after_meta_block(&self, bits: &mut Bits<'_>) -> Result<Part, Stop> {
        if self.is_last {
            end(bits)
        } else {
            Ok(Part::Begin)
        }
    }
}

impl Coding for Brotli {
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

/// Reads the size of the window in bytes (section 9.1).
fn read_window(bits: &mut Bits<'_>) -> Result<usize, Stop> {
    let width = match bits.read(1)? {
        0 => 16,
        _ => match bits.read(3)? {
            0 => match bits.read(3)? {
                0 => 17,
                // Large windows, which are not a part of the RFC.
                1 => return Err(DecodeError::Corrupt.into()),
                more => more.saturating_add(8),
            },
            more => more.saturating_add(17),
        },
    };
    Ok((1_usize << width).saturating_sub(16))
}

/// Ends the stream. The rest of its last byte has to be 0.
fn end(bits: &mut Bits<'_>) -> Result<Part, Stop> {
    if bits.align() {
        Ok(Part::End)
    } else {
        Err(DecodeError::Corrupt.into())
    }
}

/// Reads the first bits of a meta-block (section 9.2). Returns the part that follows, whether the meta-block is
/// the last, and the number of bytes that it decodes to.
fn begin(bits: &mut Bits<'_>) -> Result<(Part, bool, u32), Stop> {
    let is_last = bits.read(1)? == 1;
    if is_last && bits.read(1)? == 1 {
        return Ok((end(bits)?, is_last, 0));
    }
    let nibbles = bits.read(2)?.saturating_add(4);
    if nibbles == 7 {
        let is_reserved = bits.read(1)? == 1;
        let width = bits.read(2)?.saturating_mul(8);
        let length = bits.read(width)?;
        let is_too_long = width > 8 && length >> width.saturating_sub(8) == 0;
        if is_reserved || is_too_long || !bits.align() {
            return Err(DecodeError::Corrupt.into());
        }
        let length = if width == 0 {
            0
        } else {
            length.saturating_add(1)
        };
        let part = match length {
            0 if is_last => Part::End,
            0 => Part::Begin,
            length => Part::Metadata(length as usize),
        };
        return Ok((part, is_last, 0));
    }
    let width = nibbles.saturating_mul(4);
    let length = bits.read(width)?;
    if nibbles > 4 && length >> width.saturating_sub(4) == 0 {
        return Err(DecodeError::Corrupt.into());
    }
    let length = length.saturating_add(1);
    if is_last || bits.read(1)? == 0 {
        return Ok((Part::Header, is_last, length));
    }
    if !bits.align() {
        return Err(DecodeError::Corrupt.into());
    }
    Ok((Part::Uncompressed(length as usize), is_last, length))
}
