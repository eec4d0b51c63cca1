//! `zstd` (RFC 8878, RFC 9659): frames of blocks.
//!
//! A block (at most 128 KiB, and no more than the window) is buffered before it is decoded, and its decoded
//! bytes are passed on at once, so an event is read as soon as the server flushes it. Of the bytes before it a
//! window is kept, of at most 8 MiB on the web. Beside the window, a decoder has room for three blocks: as it
//! arrived, its literals, and decoded. So one of a small window takes up to five times the window.

use self::block::Context;
use self::header::{BlockHeader, BlockKind, FrameHeader, number};
use super::coding::Coding;
use super::error::DecodeError;
use super::output::Output;

mod bits;
mod block;
mod fse;
mod header;
mod huffman;

const MAGIC: u32 = 0xfd2f_b528;
/// The first of sixteen magic numbers of frames that are skipped.
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;
/// The memory in bytes of the tables of a frame, and of those that replace them while they are read: three of
/// 512 states of four bytes, and a code of 2048 entries of two bytes.
const TABLE_BYTES: usize = 24 << 10;
/// The maximum window of the content coding in bytes (RFC 9659).
const MAX_WINDOW_BYTES: u64 = 8 << 20;

/// The `zstd` coding. See the [module](self).
#[derive(Debug)]
pub(super) struct Zstd {
    part: Part,
    /// The current part, as far as it has come.
    buffer: Vec<u8>,
    frame: Option<Frame>,
    /// The number of frames that have ended.
    frames: u32,
}

/// The part that the next byte is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Magic,
    /// The length of a frame that is skipped.
    SkippedLength,
    /// The content of a frame that is skipped, with the number of bytes that are missing.
    Skipped(u32),
    /// The first byte of a frame header.
    Descriptor,
    /// The rest of a frame header.
    FrameHeader {
        descriptor: u8,
    },
    BlockHeader,
    Block(BlockHeader),
    Checksum,
}

#[derive(Debug)]
struct Frame {
    context: Context,
    /// The number of bytes that are still to be decoded, where the header says how many there are.
    left: Option<u64>,
    has_checksum: bool,
}

// === impl Zstd ===

impl Default for Zstd {
    fn default() -> Self {
        Self {
            part: Part::Magic,
            buffer: Vec::new(),
            frame: None,
            frames: 0,
        }
    }
}

impl Zstd {
    /// Returns the length of the current part in bytes.
    fn part_bytes(&self) -> usize {
        match self.part {
            Part::Magic | Part::SkippedLength | Part::Checksum => 4,
            Part::Skipped(_) => 0,
            Part::Descriptor => 1,
            Part::FrameHeader { descriptor } => FrameHeader::length(descriptor),
            Part::BlockHeader => 3,
            Part::Block(BlockHeader { kind, size, .. }) => match kind {
                BlockKind::Repeated => 1,
                BlockKind::Raw | BlockKind::Compressed => size,
            },
        }
    }

    /// Reads bytes of the current part. Returns whether it is complete; then the next part is current.
    fn read(&mut self, rest: &mut &[u8], output: &mut Output) -> Result<bool, DecodeError> {
        if let Part::Skipped(left) = self.part {
            let count = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            *rest = rest.get(count..).unwrap_or_default();
            let left = left.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
            self.part = if left == 0 {
                Part::Magic
            } else {
                Part::Skipped(left)
            };
            return Ok(left == 0);
        }
        let missing = self.part_bytes().saturating_sub(self.buffer.len());
        let (piece, others) = rest.split_at_checked(missing).unwrap_or((rest, &[]));
        output.allowance().reserve(&mut self.buffer, piece.len())?;
        self.buffer.extend_from_slice(piece);
        *rest = others;
        if self.buffer.len() < self.part_bytes() {
            return Ok(false);
        }
        self.part = self.end_part(output)?;
        self.buffer.clear();
        Ok(true)
    }

    /// Processes the current part, which is complete. Returns the next.
    fn end_part(&mut self, output: &mut Output) -> Result<Part, DecodeError> {
        Ok(match self.part {
            Part::Magic => match number(&self.buffer) {
                MAGIC => Part::Descriptor,
                magic if magic & !15 == SKIPPABLE_MAGIC => Part::SkippedLength,
                _ => return Err(DecodeError::Corrupt),
            },
            Part::SkippedLength => match number(&self.buffer) {
                0 => Part::Magic,
                length => Part::Skipped(length),
            },
            Part::Skipped(left) => Part::Skipped(left),
            Part::Descriptor => {
                let descriptor = self.buffer.first().copied().unwrap_or_default();
                // A reserved bit, and a dictionary, which the content coding does not have.
                if descriptor & 8 != 0 || descriptor & 3 != 0 {
                    return Err(DecodeError::Corrupt);
                }
                Part::FrameHeader { descriptor }
            }
            Part::FrameHeader { descriptor } => {
                let header = FrameHeader::parse(descriptor, &self.buffer);
                if header.window_bytes > MAX_WINDOW_BYTES {
                    return Err(DecodeError::Window);
                }
                let window = usize::try_from(header.window_bytes);
                let window = window.map_err(|_| DecodeError::Window)?;
                output.begin(window);
                match &mut self.frame {
                    Some(frame) => {
                        frame.context.begin(window);
                        frame.left = header.content_bytes;
                        frame.has_checksum = header.has_checksum;
                    }
                    none => {
                        output.allowance().pay_bytes(TABLE_BYTES)?;
                        *none = Some(Frame {
                            context: Context::new(window),
                            left: header.content_bytes,
                            has_checksum: header.has_checksum,
                        });
                    }
                }
                Part::BlockHeader
            }
            Part::BlockHeader => {
                let frame = self.frame.as_ref().ok_or(DecodeError::Corrupt)?;
                let max_bytes = frame.context.max_block_bytes();
                Part::Block(BlockHeader::parse(&self.buffer, max_bytes)?)
            }
            Part::Block(block) => {
                let frame = self.frame.as_mut().ok_or(DecodeError::Corrupt)?;
                frame.decode(block, &self.buffer, output)?;
                if block.is_last && frame.left.is_some_and(|left| left > 0) {
                    return Err(DecodeError::Corrupt);
                }
                match (block.is_last, frame.has_checksum) {
                    (false, _) => Part::BlockHeader,
                    (true, true) => Part::Checksum,
                    (true, false) => self.end_frame(),
                }
            }
            Part::Checksum => self.end_frame(),
        })
    }

    fn end_frame(&mut self) -> Part {
        self.frames = self.frames.saturating_add(1);
        Part::Magic
    }
}

impl Coding for Zstd {
    fn decode(&mut self, input: &mut &[u8], output: &mut Output) -> Result<(), DecodeError> {
        while !output.is_full() && self.read(input, output)? {}
        Ok(())
    }

    fn has_ended(&self) -> bool {
        self.frames > 0 && self.part == Part::Magic && self.buffer.is_empty()
    }
}

// === impl Frame ===

impl Frame {
    /// Decodes a block.
    fn decode(
        &mut self,
        block: BlockHeader,
        bytes: &[u8],
        output: &mut Output,
    ) -> Result<(), DecodeError> {
        let before = output.ready().len();
        match block.kind {
            BlockKind::Raw => output.extend(bytes),
            BlockKind::Repeated => {
                output.fill(bytes.first().copied().unwrap_or_default(), block.size)
            }
            BlockKind::Compressed => self.context.decode(bytes, output),
        }?;
        if let Some(left) = &mut self.left {
            let decoded = output.ready().len().saturating_sub(before);
            let decoded = u64::try_from(decoded).unwrap_or(u64::MAX);
            *left = left.checked_sub(decoded).ok_or(DecodeError::Corrupt)?;
        }
        Ok(())
    }
}
