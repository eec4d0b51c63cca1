//! `deflate`: the zlib format (RFC 1950), or bare DEFLATE (RFC 1951), which some servers send instead.

use miniz_oxide::{
    DataFormat, MZError, MZFlush, MZStatus,
    inflate::stream::{InflateState, inflate},
};

use super::{Coding, DecodeError, Progress};

/// A stream of DEFLATE blocks, in whichever wrapping.
pub(super) struct Inflate {
    state: Box<InflateState>,
    ended: bool,
}

impl std::fmt::Debug for Inflate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Inflate")
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Inflate {
    pub(super) fn new(format: DataFormat) -> Self {
        Self {
            state: InflateState::new_boxed(format),
            ended: false,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Decodes as far as input and output go; past the end nothing is read.
    pub(super) fn decode(
        &mut self,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<Progress, DecodeError> {
        if self.ended {
            return Ok(Progress::default());
        }
        let result = inflate(&mut self.state, input, output, MZFlush::None);
        match result.status {
            Ok(MZStatus::Ok) | Err(MZError::Buf) => {}
            Ok(MZStatus::StreamEnd) => self.ended = true,
            Ok(MZStatus::NeedDict) | Err(_) => return Err(DecodeError::Corrupt),
        }
        Ok(Progress {
            read: result.bytes_consumed,
            written: result.bytes_written,
        })
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Deflate(Option<Inflate>);

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
        // Zlib begins with method 8 and a window of at most 2^15 bytes. A bare block that is no last one and
        // stored would look alike only if its padding is not zero.
        let zlib = first & 0x0f == 8 && first >> 4 <= 7;
        let inflate = self.0.get_or_insert_with(|| {
            Inflate::new(if zlib {
                DataFormat::ZLibIgnoreChecksum
            } else {
                DataFormat::Raw
            })
        });
        if inflate.has_ended() {
            // What follows does not matter.
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
