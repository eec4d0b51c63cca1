//! `br` (RFC 7932).

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

use super::coding::{Coding, DecodeError, Progress};
use super::memory::{DecoderMemory, Share};

/// The most that a decoder has beside its window, in bytes: its state, and three groups of 256 trees with
/// 1080 entries of four bytes each.
const MAX_TABLE_BYTES: usize = 3584 << 10;

type State = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

/// The `br` coding.
pub(super) struct Brotli {
    /// The state, from the first byte on, which has the size of the window.
    state: Option<(Box<State>, Share)>,
    memory: DecoderMemory,
    written: usize,
    has_ended: bool,
}

// === impl Brotli ===

impl std::fmt::Debug for Brotli {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Brotli")
            .field("written", &self.written)
            .field("has_ended", &self.has_ended)
            .finish_non_exhaustive()
    }
}

impl Brotli {
    pub(super) fn new(memory: &DecoderMemory) -> Self {
        Self {
            state: None,
            memory: memory.clone(),
            written: 0,
            has_ended: false,
        }
    }
}

impl Coding for Brotli {
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, DecodeError> {
        if self.has_ended {
            return Ok(Progress {
                read: input.len(),
                written: 0,
            });
        }
        let state = match &mut self.state {
            Some((state, _)) => state,
            empty => {
                let Some(first) = input.first() else {
                    return Ok(Progress::default());
                };
                let mut share = Share::new(&self.memory);
                share.take(window_bytes(*first).saturating_add(MAX_TABLE_BYTES))?;
                let allocator = StandardAlloc::default;
                // Strict: only the windows of the RFC.
                let state = State::new_strict(allocator(), allocator(), allocator());
                &mut empty.insert((Box::new(state), share)).0
            }
        };
        let (mut input_left, mut output_left) = (input.len(), output.len());
        let mut progress = Progress::default();
        let result = BrotliDecompressStream(
            &mut input_left,
            &mut progress.read,
            input,
            &mut output_left,
            &mut progress.written,
            output,
            &mut self.written,
            state,
        );
        match result {
            BrotliResult::ResultSuccess => {
                self.has_ended = true;
                self.state = None;
            }
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultFailure => return Err(DecodeError::Corrupt),
        }
        Ok(progress)
    }

    fn has_ended(&self) -> bool {
        self.has_ended
    }
}

/// Returns the size of the window in bytes, from the first byte of the stream (section 9.1).
fn window_bytes(first: u8) -> usize {
    let bits = match (first & 1, (first >> 1) & 7, (first >> 4) & 7) {
        (0, _, _) => 16,
        (_, 0, 0) => 17,
        (_, 0, more) => more.saturating_add(8),
        (_, more, _) => more.saturating_add(17),
    };
    1_usize.checked_shl(u32::from(bits)).unwrap_or(usize::MAX)
}
