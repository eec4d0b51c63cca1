//! The headers of frames (RFC 8878, section 3.1.1.1) and blocks (section 3.1.1.2).

use super::super::error::DecodeError;

/// The flag of a frame whose content is a single segment.
const SINGLE_SEGMENT: u8 = 32;
/// The flag of a frame with a checksum.
const CHECKSUM: u8 = 4;

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) window_bytes: u64,
    /// The number of bytes that the frame decodes to, where it says so.
    pub(super) content_bytes: Option<u64>,
    pub(super) has_checksum: bool,
}

/// The header of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub(super) kind: BlockKind,
    /// The size of the block in bytes; of a repeated byte, how often it is repeated.
    pub(super) size: usize,
    pub(super) is_last: bool,
}

/// The kind of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// The bytes themselves.
    Raw,
    /// One byte that is repeated.
    Repeated,
    Compressed,
}

// === impl FrameHeader ===

impl FrameHeader {
    /// Returns the length of a header in bytes, without its descriptor.
    pub(super) fn length(descriptor: u8) -> usize {
        let window = usize::from(descriptor & SINGLE_SEGMENT == 0);
        window.saturating_add(content_size_length(descriptor))
    }

    /// Parses a header, of which `bytes` follow the descriptor.
    pub(super) fn parse(descriptor: u8, bytes: &[u8]) -> Self {
        let content_bytes = content_bytes(descriptor, bytes);
        Self {
            window_bytes: match content_bytes {
                Some(content) if descriptor & SINGLE_SEGMENT != 0 => content,
                _ => window_bytes(bytes),
            },
            content_bytes,
            has_checksum: descriptor & CHECKSUM != 0,
        }
    }
}

// === impl BlockHeader ===

impl BlockHeader {
    /// Parses the header of a block of at most this size.
    pub(super) fn parse(bytes: &[u8], max_bytes: usize) -> Result<Self, DecodeError> {
        let header = number(bytes);
        let size = usize::try_from(header >> 3).map_err(|_| DecodeError::Corrupt)?;
        let kind = match header >> 1 & 3 {
            0 => BlockKind::Raw,
            1 => BlockKind::Repeated,
            2 => BlockKind::Compressed,
            _ => return Err(DecodeError::Corrupt),
        };
        if size > max_bytes {
            return Err(DecodeError::Corrupt);
        }
        Ok(Self {
            kind,
            size,
            is_last: header & 1 != 0,
        })
    }
}

/// Parses a little-endian number of up to four bytes.
pub(super) fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .take(4)
        .rev()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Returns the length in bytes of the content size.
fn content_size_length(descriptor: u8) -> usize {
    match descriptor >> 6 {
        0 => usize::from(descriptor & SINGLE_SEGMENT != 0),
        1 => 2,
        2 => 4,
        _ => 8,
    }
}

/// Returns the size of the window in bytes, of a frame that is no single segment.
fn window_bytes(bytes: &[u8]) -> u64 {
    let window = bytes.first().copied().unwrap_or_default();
    let base = 1_u64 << (window >> 3).saturating_add(10);
    (base / 8)
        .saturating_mul(u64::from(window & 7))
        .saturating_add(base)
}

/// Returns the number of bytes that a frame decodes to, where its header has it: at its end.
fn content_bytes(descriptor: u8, bytes: &[u8]) -> Option<u64> {
    let length = content_size_length(descriptor);
    if length == 0 {
        return None;
    }
    let size = bytes
        .iter()
        .rev()
        .take(length)
        .fold(0_u64, |size, byte| size << 8 | u64::from(*byte));
    Some(if length == 2 {
        size.saturating_add(256)
    } else {
        size
    })
}
