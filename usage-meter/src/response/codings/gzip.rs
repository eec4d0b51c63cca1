//! `gzip` (RFC 1952): members, each a header, DEFLATE blocks and a trailer.

use super::bits::{Bits, Stop, UnreadBits};
use super::coding::Coding;
use super::error::DecodeError;
use super::inflate::Inflate;
use super::output::Output;

// The flags of a header.
const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;

/// The part of a member that the next byte is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The first ten bytes, with the number of those that have come.
    Fixed(u8),
    /// The length of the extra field, with the number of bytes that have come.
    ExtraLength(u8),
    /// The extra field, with the number of bytes that are missing.
    Extra(u16),
    /// The file name, up to a zero.
    Name,
    /// The comment, up to a zero.
    Comment,
    /// The CRC of the header, with the number of bytes that are missing.
    HeaderCrc(u8),
    Blocks,
    /// CRC and length, with the number of bytes that are missing.
    Trailer(u8),
    /// Bytes after the last member, such as padding.
    Padding,
}

/// The `gzip` coding.
#[derive(Debug)]
pub(super) struct Gzip {
    part: Part,
    flags: u8,
    /// The low byte of the length of the extra field.
    extra_length: u16,
    unread: UnreadBits,
    inflate: Inflate,
    members: u32,
}

// === impl Gzip ===

impl Default for Gzip {
    fn default() -> Self {
        Self {
            part: Part::Fixed(0),
            flags: 0,
            extra_length: 0,
            unread: UnreadBits::default(),
            inflate: Inflate::default(),
            members: 0,
        }
    }
}

impl Gzip {
    /// Returns the part after `Fixed`, `Extra`, `Name`, `Comment` or `HeaderCrc`, by the flags that are left.
    fn next(&mut self) -> Part {
        if self.flags & EXTRA != 0 {
            self.flags &= !EXTRA;
            Part::ExtraLength(0)
        } else if self.flags & NAME != 0 {
            self.flags &= !NAME;
            Part::Name
        } else if self.flags & COMMENT != 0 {
            self.flags &= !COMMENT;
            Part::Comment
        } else if self.flags & HEADER_CRC != 0 {
            self.flags &= !HEADER_CRC;
            Part::HeaderCrc(2)
        } else {
            Part::Blocks
        }
    }

    /// Reads a byte of a header or trailer. Before blocks, the stream begins.
    fn header(&mut self, bits: &mut Bits<'_>, output: &mut Output) -> Result<Part, Stop> {
        let byte = bits.at_once(|bits| bits.read(8))?;
        let part = self.step(u8::try_from(byte).unwrap_or_default())?;
        if part == Part::Blocks {
            self.inflate.begin(output);
        }
        Ok(part)
    }

    /// Takes a byte of a header or trailer. Returns the part that the next byte is in.
    fn step(&mut self, byte: u8) -> Result<Part, DecodeError> {
        Ok(match self.part {
            Part::Fixed(index) => {
                let expected = match index {
                    0 => Some(0x1f),
                    1 => Some(0x8b),
                    2 => Some(8),
                    _ => None,
                };
                if expected.is_some_and(|expected| expected != byte) {
                    return if self.members > 0 {
                        Ok(Part::Padding)
                    } else {
                        Err(DecodeError::Corrupt)
                    };
                }
                if index == 3 {
                    self.flags = byte;
                }
                if index == 9 {
                    self.next()
                } else {
                    Part::Fixed(index.saturating_add(1))
                }
            }
            Part::ExtraLength(0) => {
                self.extra_length = u16::from(byte);
                Part::ExtraLength(1)
            }
            Part::ExtraLength(_) => match self.extra_length | u16::from(byte) << 8 {
                0 => self.next(),
                length => Part::Extra(length),
            },
            Part::Extra(1) | Part::HeaderCrc(1) => self.next(),
            Part::Extra(left) => Part::Extra(left.saturating_sub(1)),
            Part::HeaderCrc(left) => Part::HeaderCrc(left.saturating_sub(1)),
            Part::Name | Part::Comment if byte == 0 => self.next(),
            Part::Trailer(1) => {
                self.members = self.members.saturating_add(1);
                Part::Fixed(0)
            }
            Part::Trailer(left) => Part::Trailer(left.saturating_sub(1)),
            part @ (Part::Name | Part::Comment | Part::Blocks | Part::Padding) => part,
        })
    }
}

impl Coding for Gzip {
    fn decode(&mut self, input: &mut &[u8], output: &mut Output) -> Result<(), DecodeError> {
        let mut unread = std::mem::take(&mut self.unread);
        let result = unread.decode(input, |bits| {
            self.part = match self.part {
                Part::Padding => return Err(Stop::End),
                Part::Blocks => {
                    self.inflate.run(bits, output)?;
                    Part::Trailer(8)
                }
                _ => self.header(bits, output)?,
            };
            Ok(())
        });
        self.unread = unread;
        result
    }

    fn has_ended(&self) -> bool {
        self.members > 0 && matches!(self.part, Part::Fixed(_) | Part::Padding)
    }
}
