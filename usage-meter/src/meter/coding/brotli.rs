//! `br` (RFC 7932).

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

use super::{Coding, DecodeError, Progress, Window};

type State = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

/// See the [module](self).
pub(super) struct Brotli {
    /// From the first byte on, which tells the size of the window.
    state: Option<(Box<State>, Window)>,
    written: usize,
    ended: bool,
}

impl std::fmt::Debug for Brotli {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Brotli")
            .field("written", &self.written)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Brotli {
    pub(super) fn new() -> Self {
        Self {
            state: None,
            written: 0,
            ended: false,
        }
    }
}

impl Coding for Brotli {
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, DecodeError> {
        if self.ended {
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
                let window = Window::take(window(*first))?;
                let allocator = StandardAlloc::default;
                // Strict: no windows beyond those of the RFC.
                let state = State::new_strict(allocator(), allocator(), allocator());
                &mut empty.insert((Box::new(state), window)).0
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
                self.ended = true;
                self.state = None;
            }
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultFailure => return Err(DecodeError::Corrupt),
        }
        Ok(progress)
    }

    fn has_ended(&self) -> bool {
        self.ended
    }
}

/// The size of the window that a stream announces by its first byte (section 9.1).
fn window(first: u8) -> usize {
    let bits = match (first & 1, (first >> 1) & 7, (first >> 4) & 7) {
        (0, _, _) => 16,
        (_, 0, 0) => 17,
        (_, 0, more) => more.saturating_add(8),
        (_, more, _) => more.saturating_add(17),
    };
    1_usize.checked_shl(u32::from(bits)).unwrap_or(usize::MAX)
}
