//! The decoder of one body.

use super::coding::{Coding, DecodeError, Progress};
use super::{brotli, deflate, gzip, zstd};

#[cfg(test)]
mod tests;

/// The maximum number of codings of a body.
const MAX_CODINGS: usize = 4;
/// The number of bytes that are decoded at a time.
const PIECE_BYTES: usize = 16 * 1024;
/// The number of bytes that any body may decode to.
const FREE_BYTES: u64 = 16 << 20;
/// Beyond that, the maximum number of decoded bytes for each encoded byte.
const MAX_RATIO: u64 = 100;

/// A decoder for all content codings of one body.
#[derive(Debug)]
pub struct Decoder {
    /// The codings in the order in which they are decoded.
    stages: Vec<Stage>,
    error: Option<DecodeError>,
    encoded_bytes: u64,
    decoded_bytes: u64,
}

#[derive(Debug)]
struct Stage {
    coding: Box<dyn Coding>,
    output: Box<[u8]>,
}

// === impl Decoder ===

impl Decoder {
    /// Returns a decoder for the value of a `content-encoding` header; `None` if it has no codings.
    #[must_use]
    pub fn new(content_encoding: &[u8]) -> Option<Self> {
        let mut decoder = Self {
            stages: Vec::new(),
            error: None,
            encoded_bytes: 0,
            decoded_bytes: 0,
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
            if decoder.stages.len() >= MAX_CODINGS {
                decoder.error = Some(DecodeError::Unknown);
                break;
            }
            decoder.stages.push(Stage {
                coding,
                output: vec![0; PIECE_BYTES].into_boxed_slice(),
            });
        }
        (decoder.error.is_some() || !decoder.stages.is_empty()).then_some(decoder)
    }

    /// Returns the reason why the decoding stopped, if it did.
    #[must_use]
    pub fn error(&self) -> Option<DecodeError> {
        self.error
    }

    /// Returns whether the body has ended according to every coding.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.error.is_none() && self.stages.iter().all(|stage| stage.coding.has_ended())
    }

    /// Decodes the next bytes of the body and passes the decoded bytes to `take`.
    ///
    /// # Errors
    ///
    /// The reason why the decoding stopped. All later calls return it too.
    pub fn push(&mut self, bytes: &[u8], take: &mut dyn FnMut(&[u8])) -> Result<(), DecodeError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.encoded_bytes = self.encoded_bytes.saturating_add(bytes.len() as u64);
        let max_bytes = FREE_BYTES.max(self.encoded_bytes.saturating_mul(MAX_RATIO));
        let result = decode(
            &mut self.stages,
            bytes,
            &mut self.decoded_bytes,
            max_bytes,
            take,
        );
        if let Err(error) = result {
            self.error = Some(error);
            // Releases the memory of the codings.
            self.stages.clear();
        }
        result
    }
}

/// Decodes bytes with the first stage, and what that yields with the others. Recurses once for each
/// stage.
fn decode(
    stages: &mut [Stage],
    bytes: &[u8],
    decoded_bytes: &mut u64,
    max_bytes: u64,
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
        *decoded_bytes = decoded_bytes.saturating_add(written as u64);
        if *decoded_bytes > max_bytes {
            return Err(DecodeError::TooLarge);
        }
        rest = rest.get(read..).unwrap_or_default();
        let output = first.output.get(..written).unwrap_or_default();
        if !output.is_empty() {
            decode(others, output, decoded_bytes, max_bytes, take)?;
        }
    }
}
