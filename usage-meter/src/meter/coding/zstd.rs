//! `zstd` (RFC 8878, RFC 9659): frames of blocks.
//!
//! A block is collected before it is decoded (at most 128 KiB), and what it decodes to is passed on at once;
//! so an event reaches the reader when its server flushes it. Of what came before, a window is kept, which
//! on the web is of at most 8 MiB.

use super::{Coding, DecodeError, Progress, Window};

mod bits;
mod block;
mod fse;
mod huffman;

use block::{Context, LARGEST};

const MAGIC: u32 = 0xfd2f_b528;
/// The first magic number of sixteen for frames that are to be skipped.
const SKIPPABLE: u32 = 0x184d_2a50;
/// The largest window of the content coding (RFC 9659).
const LARGEST_WINDOW: usize = 8 << 20;

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Magic,
    /// The length of a frame that is skipped.
    SkippedLength,
    /// So many bytes of it.
    Skipped(u32),
    Descriptor,
    Header {
        descriptor: u8,
    },
    BlockHeader,
    Block {
        kind: Kind,
        size: usize,
        last: bool,
    },
    Checksum,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Raw,
    Repeated,
    Compressed,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Zstd {
    part: Part,
    /// The part as far as it has come.
    buffer: Vec<u8>,
    frame: Option<Frame>,
    frames: u32,
}

#[derive(Debug)]
struct Frame {
    context: Context,
    /// The window, and what has not been passed on.
    history: Vec<u8>,
    passed_on: usize,
    window: usize,
    has_checksum: bool,
    _memory: Window,
}

impl Zstd {
    pub(super) fn new() -> Self {
        Self {
            part: Part::Magic,
            buffer: Vec::new(),
            frame: None,
            frames: 0,
        }
    }

    /// How many bytes the part at hand has.
    fn length(&self) -> usize {
        match self.part {
            Part::Magic | Part::SkippedLength | Part::Checksum => 4,
            Part::Skipped(_) => 0,
            Part::Descriptor => 1,
            Part::Header { descriptor } => header_length(descriptor),
            Part::BlockHeader => 3,
            Part::Block { kind, size, .. } => match kind {
                Kind::Repeated => 1,
                Kind::Raw | Kind::Compressed => size,
            },
        }
    }

    /// Takes the part at hand, which is complete, and returns the next.
    fn next(&mut self) -> Result<Part, DecodeError> {
        Ok(match self.part {
            Part::Magic => match number(&self.buffer) {
                MAGIC => Part::Descriptor,
                magic if magic & !15 == SKIPPABLE => Part::SkippedLength,
                _ => return Err(DecodeError::Corrupt),
            },
            Part::SkippedLength => match number(&self.buffer) {
                0 => Part::Magic,
                length => Part::Skipped(length),
            },
            Part::Skipped(left) => Part::Skipped(left),
            Part::Descriptor => {
                let descriptor = self.buffer.first().copied().unwrap_or_default();
                // A reserved bit; a dictionary, which nobody has agreed on.
                if descriptor & 8 != 0 || descriptor & 3 != 0 {
                    return Err(DecodeError::Corrupt);
                }
                Part::Header { descriptor }
            }
            Part::Header { descriptor } => {
                self.frame = Some(Frame::new(descriptor, &self.buffer)?);
                Part::BlockHeader
            }
            Part::BlockHeader => block_header(number(&self.buffer))?,
            Part::Block { kind, size, last } => {
                let frame = self.frame.as_mut().ok_or(DecodeError::Corrupt)?;
                frame.block(kind, size, &self.buffer)?;
                match (last, frame.has_checksum) {
                    (false, _) => Part::BlockHeader,
                    (true, true) => Part::Checksum,
                    (true, false) => self.end_frame(),
                }
            }
            Part::Checksum => self.end_frame(),
        })
    }

    /// Takes what the part at hand needs; `false` if there is not enough.
    fn take(&mut self, rest: &mut &[u8]) -> Result<bool, DecodeError> {
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
        let missing = self.length().saturating_sub(self.buffer.len());
        let (piece, others) = rest.split_at_checked(missing).unwrap_or((rest, &[]));
        self.buffer.extend_from_slice(piece);
        *rest = others;
        if self.buffer.len() < self.length() {
            return Ok(false);
        }
        self.part = self.next()?;
        self.buffer.clear();
        Ok(true)
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
            let more = written == 0 && self.take(&mut rest)?;
            if !more {
                let read = input.len().saturating_sub(rest.len());
                return Ok(Progress { read, written });
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.frames > 0 && self.part == Part::Magic && self.buffer.is_empty()
    }
}

impl Frame {
    fn new(descriptor: u8, header: &[u8]) -> Result<Self, DecodeError> {
        let window = window(descriptor, header);
        if window > LARGEST_WINDOW as u64 {
            return Err(DecodeError::Window);
        }
        let window = usize::try_from(window).map_err(|_| DecodeError::Window)?;
        Ok(Self {
            context: Context::new(),
            history: Vec::new(),
            passed_on: 0,
            window,
            has_checksum: descriptor & 4 != 0,
            _memory: Window::take(window.saturating_mul(2).saturating_add(LARGEST))?,
        })
    }

    fn block(&mut self, kind: Kind, size: usize, bytes: &[u8]) -> Result<(), DecodeError> {
        // All has been passed on, so only the window is needed; it is moved when it pays.
        if self.history.len() > self.window.saturating_mul(2) {
            let unneeded = self.history.len().saturating_sub(self.window);
            self.history.drain(..unneeded);
            self.passed_on = self.history.len();
        }
        match kind {
            Kind::Raw => self.history.extend_from_slice(bytes),
            Kind::Repeated => {
                let byte = bytes.first().copied().unwrap_or_default();
                let length = self.history.len().saturating_add(size);
                self.history.resize(length, byte);
            }
            Kind::Compressed => self.context.decode(bytes, &mut self.history)?,
        }
        Ok(())
    }

    /// Passes on what has been decoded, as far as it fits.
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

/// A little-endian number of up to four bytes.
fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .take(4)
        .rev()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// How long the size of the content is.
fn size_length(descriptor: u8) -> usize {
    match descriptor >> 6 {
        0 => usize::from(descriptor & 32 != 0),
        1 => 2,
        2 => 4,
        _ => 8,
    }
}

/// How long a frame's header is behind its descriptor.
fn header_length(descriptor: u8) -> usize {
    let window = usize::from(descriptor & 32 == 0);
    window.saturating_add(size_length(descriptor))
}

/// How large the window is: as told, or all of a frame whose content is a single segment.
fn window(descriptor: u8, header: &[u8]) -> u64 {
    if descriptor & 32 == 0 {
        let window = header.first().copied().unwrap_or_default();
        let base = 1_u64 << (window >> 3).saturating_add(10);
        return (base / 8)
            .saturating_mul(u64::from(window & 7))
            .saturating_add(base);
    }
    let size = header
        .iter()
        .rev()
        .fold(0_u64, |size, byte| size << 8 | u64::from(*byte));
    if size_length(descriptor) == 2 {
        size.saturating_add(256)
    } else {
        size
    }
}

fn block_header(header: u32) -> Result<Part, DecodeError> {
    let size = usize::try_from(header >> 3).map_err(|_| DecodeError::Corrupt)?;
    let kind = match header >> 1 & 3 {
        0 => Kind::Raw,
        1 => Kind::Repeated,
        2 => Kind::Compressed,
        _ => return Err(DecodeError::Corrupt),
    };
    if size > LARGEST {
        return Err(DecodeError::Corrupt);
    }
    Ok(Part::Block {
        kind,
        size,
        last: header & 1 != 0,
    })
}
