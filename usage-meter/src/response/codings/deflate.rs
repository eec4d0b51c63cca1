//! `deflate`: the zlib format (RFC 1950), or raw DEFLATE (RFC 1951), which some servers send instead.

use miniz_oxide::{
    DataFormat, MZError, MZFlush, MZStatus,
    inflate::stream::{InflateState, inflate},
};

use super::coding::{Coding, DecodeError, Progress};

/// A stream of DEFLATE blocks in a given format.
pub(super) struct Inflate {
    state: Box<InflateState>,
    has_ended: bool,
    /// Whether what follows the decoded bytes is corrupt.
    has_failed: bool,
}

/// The `deflate` coding. The format is known from the first byte on.
#[derive(Debug)]
pub(super) struct Deflate(Option<Inflate>);

// === impl Inflate ===

impl std::fmt::Debug for Inflate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Inflate")
            .field("has_ended", &self.has_ended)
            .finish_non_exhaustive()
    }
}

impl Inflate {
    pub(super) fn new(format: DataFormat) -> Self {
        Self {
            state: InflateState::new_boxed(format),
            has_ended: false,
            has_failed: false,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Decodes as far as input and output allow. Reads nothing past the end.
    pub(super) fn decode(
        &mut self,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<Progress, DecodeError> {
        if self.has_ended {
            return Ok(Progress::default());
        }
        if self.has_failed {
            return Err(DecodeError::Corrupt);
        }
        let result = inflate(&mut self.state, input, output, MZFlush::None);
        match result.status {
            Ok(MZStatus::Ok) | Err(MZError::Buf) => {}
            Ok(MZStatus::StreamEnd) => self.has_ended = true,
            // What was decoded before counts, however the bytes are cut.
            Ok(MZStatus::NeedDict) | Err(_) if result.bytes_written > 0 => self.has_failed = true,
            Ok(MZStatus::NeedDict) | Err(_) => return Err(DecodeError::Corrupt),
        }
        Ok(Progress {
            read: result.bytes_consumed,
            written: result.bytes_written,
        })
    }
}

// === impl Deflate ===

impl Deflate {
    pub(super) fn new() -> Self {
        Self(None)
    }
}

impl Coding for Deflate {
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, DecodeError> {
        let Some(first) = input.first() else {
            return self.0.as_mut().map_or(Ok(Progress::default()), |inflate| {
                inflate.decode(input, output)
            });
        };
        // Zlib starts with method 8 and a window of at most 2^15 bytes. A raw block starts so only if it
        // is stored, is not the last, and has padding that is not zero.
        let is_zlib = first & 0x0f == 8 && first >> 4 <= 7;
        let inflate = self.0.get_or_insert_with(|| {
            Inflate::new(if is_zlib {
                DataFormat::ZLibIgnoreChecksum
            } else {
                DataFormat::Raw
            })
        });
        if inflate.has_ended() {
            // What follows is ignored.
            return Ok(Progress {
                read: input.len(),
                written: 0,
            });
        }
        inflate.decode(input, output)
    }

    fn has_ended(&self) -> bool {
        self.0.as_ref().is_some_and(Inflate::has_ended)
    }
}
