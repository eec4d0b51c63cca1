//! `gzip` (RFC 1952): members, each a header, DEFLATE blocks and a trailer.

use miniz_oxide::DataFormat;

use super::{Coding, DecodeError, Progress, deflate::Inflate};

const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;

/// The part of a member that the next byte is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The first ten bytes, of which so many have come.
    Fixed(u8),
    /// The length of the extra field, of which so many bytes have come.
    ExtraLength(u8),
    /// The extra field, of which so many bytes are missing.
    Extra(u16),
    /// The file's name, to a zero.
    Name,
    /// The comment, to a zero.
    Comment,
    /// The header's CRC, of which so many bytes are missing.
    HeaderCrc(u8),
    Blocks,
    /// CRC and length, of which so many bytes are missing.
    Trailer(u8),
    /// After a member, if what follows is none.
    Rest,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Gzip {
    part: Part,
    flags: u8,
    extra: u16,
    inflate: Inflate,
    members: u32,
}

impl Gzip {
    pub(super) fn new() -> Self {
        Self {
            part: Part::Fixed(0),
            flags: 0,
            extra: 0,
            inflate: Inflate::new(DataFormat::Raw),
            members: 0,
        }
    }

    /// The part of the header that comes after `Fixed`, `Extra`, `Name` or `Comment`, as `flags` says.
    fn next(&mut self) -> Part {
        let part = if self.flags & EXTRA != 0 {
            self.flags &= !EXTRA;
            return Part::ExtraLength(0);
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
        };
        if part == Part::Blocks {
            self.inflate = Inflate::new(DataFormat::Raw);
        }
        part
    }

    /// Takes a byte of a header or trailer.
    fn step(&mut self, byte: u8) -> Result<Part, DecodeError> {
        Ok(match self.part {
            Part::Fixed(place) => {
                let expected = match place {
                    0 => Some(0x1f),
                    1 => Some(0x8b),
                    2 => Some(8),
                    _ => None,
                };
                if expected.is_some_and(|expected| expected != byte) {
                    // Padding and the like may follow a member.
                    return if self.members > 0 {
                        Ok(Part::Rest)
                    } else {
                        Err(DecodeError::Corrupt)
                    };
                }
                if place == 3 {
                    self.flags = byte;
                }
                if place == 9 {
                    self.next()
                } else {
                    Part::Fixed(place.saturating_add(1))
                }
            }
            Part::ExtraLength(0) => {
                self.extra = u16::from(byte);
                Part::ExtraLength(1)
            }
            Part::ExtraLength(_) => match self.extra | u16::from(byte) << 8 {
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
            part @ (Part::Name | Part::Comment | Part::Blocks | Part::Rest) => part,
        })
    }
}

impl Coding for Gzip {
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, DecodeError> {
        if self.part == Part::Blocks {
            let progress = self.inflate.decode(input, output)?;
            if !self.inflate.has_ended() {
                return Ok(progress);
            }
            self.part = Part::Trailer(8);
            if progress != Progress::default() {
                return Ok(progress);
            }
        }
        let mut read = 0_usize;
        for &byte in input {
            if self.part == Part::Blocks {
                break;
            }
            self.part = self.step(byte)?;
            read = read.saturating_add(1);
        }
        Ok(Progress { read, written: 0 })
    }

    fn has_ended(&self) -> bool {
        self.members > 0 && matches!(self.part, Part::Fixed(_) | Part::Rest)
    }
}
