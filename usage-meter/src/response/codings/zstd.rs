//! `zstd` (RFC 8878, RFC 9659): frames of blocks.
//!
//! A block (at most 128 KiB) is buffered before it is decoded, and its decoded bytes are passed on at
//! once, so an event is read as soon as the server flushes it. Of the bytes before it a window is kept,
//! of at most 8 MiB on the web.

use self::block::{Context, MAX_BLOCK_BYTES};
use self::header::{BlockHeader, BlockKind, FrameHeader, number};
use super::coding::{Coding, DecodeError, Progress};
use super::memory::{DecoderMemory, Share};

mod bits;
mod block;
mod fse;
mod header;
mod huffman;

const MAGIC: u32 = 0xfd2f_b528;
/// The first of sixteen magic numbers of frames that are skipped.
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;
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
    memory: DecoderMemory,
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
    /// The window, and the decoded bytes that have not been passed on.
    history: Vec<u8>,
    /// The number of bytes of `history` that have been passed on.
    passed_on: usize,
    window_bytes: usize,
    has_checksum: bool,
    _share: Share,
}

// === impl Zstd ===

impl Zstd {
    pub(super) fn new(memory: &DecoderMemory) -> Self {
        Self {
            part: Part::Magic,
            buffer: Vec::new(),
            frame: None,
            frames: 0,
            memory: memory.clone(),
        }
    }

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
    fn read(&mut self, rest: &mut &[u8]) -> Result<bool, DecodeError> {
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
        self.buffer.extend_from_slice(piece);
        *rest = others;
        if self.buffer.len() < self.part_bytes() {
            return Ok(false);
        }
        self.part = self.end_part()?;
        self.buffer.clear();
        Ok(true)
    }

    /// Processes the current part, which is complete. Returns the next.
    fn end_part(&mut self) -> Result<Part, DecodeError> {
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
                self.frame = Some(Frame::new(
                    &FrameHeader::parse(descriptor, &self.buffer),
                    &self.memory,
                )?);
                Part::BlockHeader
            }
            Part::BlockHeader => Part::Block(BlockHeader::parse(&self.buffer)?),
            Part::Block(block) => {
                let frame = self.frame.as_mut().ok_or(DecodeError::Corrupt)?;
                frame.decode(block, &self.buffer)?;
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
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, DecodeError> {
        let mut rest = input;
        loop {
            let written = self.frame.as_mut().map_or(0, |frame| frame.pass_on(output));
            let has_next_part = written == 0 && self.read(&mut rest)?;
            if !has_next_part {
                let read = input.len().saturating_sub(rest.len());
                return Ok(Progress { read, written });
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.frames > 0 && self.part == Part::Magic && self.buffer.is_empty()
    }
}

// === impl Frame ===

impl Frame {
    fn new(header: &FrameHeader, memory: &DecoderMemory) -> Result<Self, DecodeError> {
        if header.window_bytes > MAX_WINDOW_BYTES {
            return Err(DecodeError::Window);
        }
        let window_bytes = usize::try_from(header.window_bytes).map_err(|_| DecodeError::Window)?;
        let mut share = Share::new(memory);
        // The history, and as much while it grows; a block, its literals, and its tables.
        let history = window_bytes
            .saturating_mul(2)
            .saturating_add(MAX_BLOCK_BYTES);
        let others = MAX_BLOCK_BYTES.saturating_mul(3);
        share.take(history.saturating_mul(2).saturating_add(others))?;
        Ok(Self {
            context: Context::new(),
            history: Vec::new(),
            passed_on: 0,
            window_bytes,
            has_checksum: header.has_checksum,
            _share: share,
        })
    }

    /// Decodes a block to the end of the history.
    fn decode(&mut self, block: BlockHeader, bytes: &[u8]) -> Result<(), DecodeError> {
        // Everything has been passed on, so only the window is needed. It is moved once there is as much
        // before it, so that each byte is moved once at most.
        if self.history.len() > self.window_bytes.saturating_mul(2) {
            let unneeded = self.history.len().saturating_sub(self.window_bytes);
            self.history.drain(..unneeded);
            self.passed_on = self.history.len();
        }
        match block.kind {
            BlockKind::Raw => self.history.extend_from_slice(bytes),
            BlockKind::Repeated => {
                let byte = bytes.first().copied().unwrap_or_default();
                let length = self.history.len().saturating_add(block.size);
                self.history.resize(length, byte);
            }
            BlockKind::Compressed => self.context.decode(bytes, &mut self.history)?,
        }
        Ok(())
    }

    /// Copies decoded bytes to `output`, as far as they fit. Returns their number.
    fn pass_on(&mut self, output: &mut [u8]) -> usize {
        let ready = self.history.get(self.passed_on..).unwrap_or_default();
        let count = ready.len().min(output.len());
        if let (Some(ready), Some(output)) = (ready.get(..count), output.get_mut(..count)) {
            output.copy_from_slice(ready);
        }
        self.passed_on = self.passed_on.saturating_add(count);
        count
    }
}
