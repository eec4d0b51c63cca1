//! Content codings (RFC 9110, section 8.4), undone as the bytes pass.
//!
//! The decoded bytes are only read, and the response goes on as it came, so nothing here fails a response:
//! what is corrupt, unknown, or decodes to far more than came (more than a hundred times as much) stops the decoding.
//! Checksums are not checked: a client will do that, and what was read has been counted by then.

use std::cell::Cell;

mod brotli;
mod deflate;
mod gzip;
mod zstd;

#[cfg(test)]
mod tests;

/// The most codings that are undone one after the other.
const MOST_CODINGS: usize = 4;
/// How many bytes are decoded at a time.
const PIECE: usize = 16 * 1024;
/// So much may be decoded from however little.
const FREE: u64 = 16 << 20;
/// Beyond that, at most so many bytes for each that came.
const RATIO: u64 = 100;
/// The memory that the windows of all decoders of a worker may take.
const WINDOWS: usize = 256 << 20;

/// Why decoding stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not of the coding.
    #[error("corrupt")]
    Corrupt,
    /// The coding is not known, or there are too many.
    #[error("unknown content coding")]
    Unknown,
    /// Too much came out of too little.
    #[error("decoded to too much")]
    TooLarge,
    /// The window does not fit into the memory for windows.
    #[error("window too large")]
    Window,
}

/// How far a step of decoding got. Neither: more input is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    read: usize,
    written: usize,
}

/// One coding.
trait Coding: std::fmt::Debug {
    /// Decodes some of `input` to `output`.
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, DecodeError>;

    /// Whether the end of the coded bytes was reached.
    fn has_ended(&self) -> bool;
}

#[derive(Debug)]
struct Stage {
    coding: Box<dyn Coding>,
    output: Box<[u8]>,
}

/// Undoes the codings of one body.
#[derive(Debug)]
pub struct Decoder {
    /// In the order in which they are undone.
    stages: Vec<Stage>,
    error: Option<DecodeError>,
    encoded: u64,
    decoded: u64,
}

impl Decoder {
    /// A decoder for the codings of a `content-encoding` header; `None` if there are none.
    #[must_use]
    pub fn new(content_encoding: &[u8]) -> Option<Self> {
        let mut decoder = Self {
            stages: Vec::new(),
            error: None,
            encoded: 0,
            decoded: 0,
        };
        for coding in content_encoding.rsplit(|byte| *byte == b',') {
            let coding = match coding.trim_ascii().to_ascii_lowercase().as_slice() {
                b"" | b"identity" => continue,
                b"gzip" | b"x-gzip" => Box::new(gzip::Gzip::new()) as Box<dyn Coding>,
                b"deflate" => Box::new(deflate::Deflate::new()),
                b"br" => Box::new(brotli::Brotli::new()),
                b"zstd" => Box::new(zstd::Zstd::new()),
                _ => {
                    decoder.error = Some(DecodeError::Unknown);
                    break;
                }
            };
            if decoder.stages.len() >= MOST_CODINGS {
                decoder.error = Some(DecodeError::Unknown);
                break;
            }
            decoder.stages.push(Stage {
                coding,
                output: vec![0; PIECE].into_boxed_slice(),
            });
        }
        (decoder.error.is_some() || !decoder.stages.is_empty()).then_some(decoder)
    }

    /// Why the decoding stopped, if it did.
    #[must_use]
    pub fn error(&self) -> Option<DecodeError> {
        self.error
    }

    /// Whether every coding came to its end.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.error.is_none() && self.stages.iter().all(|stage| stage.coding.has_ended())
    }

    /// Decodes the next bytes of the body and passes on what comes out.
    ///
    /// # Errors
    ///
    /// Why the decoding stopped; then it does nothing from now on.
    pub fn push(&mut self, bytes: &[u8], take: &mut dyn FnMut(&[u8])) -> Result<(), DecodeError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.encoded = self.encoded.saturating_add(bytes.len() as u64);
        let most = FREE.max(self.encoded.saturating_mul(RATIO));
        let result = run(&mut self.stages, bytes, &mut self.decoded, most, take);
        if let Err(error) = result {
            self.error = Some(error);
            // Whatever memory they hold is not needed any more.
            self.stages.clear();
        }
        result
    }
}

/// Passes bytes through the stages, one after the other. As deep as there are stages.
fn run(
    stages: &mut [Stage],
    bytes: &[u8],
    decoded: &mut u64,
    most: u64,
    take: &mut dyn FnMut(&[u8]),
) -> Result<(), DecodeError> {
    let Some((first, others)) = stages.split_first_mut() else {
        take(bytes);
        return Ok(());
    };
    let mut rest = bytes;
    loop {
        let Progress { read, written } = first.coding.decode(rest, &mut first.output)?;
        if read == 0 && written == 0 {
            return Ok(());
        }
        *decoded = decoded.saturating_add(written as u64);
        if *decoded > most {
            return Err(DecodeError::TooLarge);
        }
        rest = rest.get(read..).unwrap_or_default();
        let output = first.output.get(..written).unwrap_or_default();
        if !output.is_empty() {
            run(others, output, decoded, most, take)?;
        }
    }
}

thread_local! {
    /// The memory that windows take, of this worker.
    static WINDOWS_IN_USE: Cell<usize> = const { Cell::new(0) };
}

/// A share of the memory for windows, given back when it is dropped.
#[derive(Debug)]
struct Window(usize);

impl Window {
    /// Takes so many bytes, if there are.
    fn take(bytes: usize) -> Result<Self, DecodeError> {
        WINDOWS_IN_USE.with(|in_use| {
            let total = in_use.get().saturating_add(bytes);
            if total > WINDOWS {
                return Err(DecodeError::Window);
            }
            in_use.set(total);
            Ok(Self(bytes))
        })
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        WINDOWS_IN_USE.with(|in_use| in_use.set(in_use.get().saturating_sub(self.0)));
    }
}
