//! The decoder of one body.

use super::coding::{Coding, DecodeError, Progress};
use super::label::{Detected, FirstBytes, Label};
use super::memory::{DecoderMemory, Share};
use super::{brotli, deflate, gzip, zstd};

#[cfg(test)]
mod tests;

/// The maximum number of codings of a body.
const MAX_CODINGS: usize = 2;
/// The number of bytes that are decoded at a time.
const PIECE_BYTES: usize = 16 * 1024;
/// The number of bytes that any body may decode to.
const FREE_BYTES: u64 = 16 << 20;
/// Beyond that, the maximum number of decoded bytes for each encoded byte.
const MAX_RATIO: u64 = 100;

/// The memory of a stage beside windows: its output, and the state and window of DEFLATE.
const STAGE_BYTES: usize = PIECE_BYTES + (48 << 10);

/// A decoder for all content codings of one body.
#[derive(Debug)]
pub struct Decoder {
    /// The codings in the order in which they are decoded.
    stages: Vec<Stage>,
    label: Label,
    /// The first bytes of the body, until they show whether it is encoded.
    first: Option<FirstBytes>,
    error: Option<DecodeError>,
    /// The memory of the stages.
    share: Share,
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
    ///
    /// Unknown codings are left out. A body that is text although it is labelled as encoded is not decoded.
    #[must_use]
    pub fn new(content_encoding: &[u8], memory: &DecoderMemory) -> Option<Self> {
        let mut decoder = Self {
            stages: Vec::new(),
            label: Label::Unknown,
            first: Some(FirstBytes::default()),
            error: None,
            share: Share::new(memory),
            encoded_bytes: 0,
            decoded_bytes: 0,
        };
        let mut has_unknown = false;
        for name in content_encoding.rsplit(|byte| *byte == b',') {
            let name = name.split(|byte| *byte == b';').next().unwrap_or_default();
            let (coding, label) = match name.trim_ascii().to_ascii_lowercase().as_slice() {
                b"" | b"identity" | b"none" | b"utf-8" | b"utf8" => continue,
                b"gzip" | b"x-gzip" => (
                    Box::new(gzip::Gzip::new()) as Box<dyn Coding>,
                    Label::Begins(b"\x1f\x8b"),
                ),
                b"deflate" => (Box::new(deflate::Deflate::new()) as _, Label::Any),
                b"br" => (Box::new(brotli::Brotli::new(memory)) as _, Label::Any),
                b"zstd" => (
                    Box::new(zstd::Zstd::new(memory)) as _,
                    Label::Begins(b"\x28\xb5\x2f\xfd"),
                ),
                _ => {
                    has_unknown = true;
                    continue;
                }
            };
            if decoder.stages.len() >= MAX_CODINGS {
                decoder.stop(DecodeError::Unknown);
                break;
            }
            if let Err(error) = decoder.share.take(STAGE_BYTES) {
                decoder.stop(error);
                break;
            }
            if decoder.stages.is_empty() {
                decoder.label = label;
            }
            decoder.stages.push(Stage {
                coding,
                output: vec![0; PIECE_BYTES].into_boxed_slice(),
            });
        }
        let is_needed = decoder.error.is_some() || has_unknown || !decoder.stages.is_empty();
        is_needed.then_some(decoder)
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
        let Some(mut first) = self.first else {
            return self.decode(bytes, take);
        };
        let others = first.take(bytes);
        self.first = Some(first);
        self.decode_first(false, take)?;
        self.decode(others, take)
    }

    /// Ends the body: passes on its first bytes if they are all it has.
    pub fn finish(&mut self, take: &mut dyn FnMut(&[u8])) {
        // An error is kept.
        let _ = self.decode_first(true, take);
    }

    /// Takes a body that has ended before it has decoded to anything for one that cannot be decoded.
    pub fn reject_unread(&mut self) {
        let is_read = self.error.is_some() || self.decoded_bytes > 0 || self.has_ended();
        if !is_read && self.encoded_bytes > 0 {
            self.stop(DecodeError::Corrupt);
        }
    }

    /// Decodes the first bytes of the body once they show whether it is encoded. `are_all` says whether it
    /// has no more.
    fn decode_first(
        &mut self,
        are_all: bool,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), DecodeError> {
        let Some(first) = self.first else {
            return Ok(());
        };
        match first.detect(self.label, are_all) {
            Detected::NotYet => return Ok(()),
            Detected::Text => {
                self.stages.clear();
                self.share.release(usize::MAX);
            }
            Detected::Encoded if self.label == Label::Unknown => self.stop(DecodeError::Unknown),
            Detected::Encoded => {}
        }
        self.first = None;
        self.decode(first.as_bytes(), take)
    }

    /// Decodes bytes after the first.
    fn decode(&mut self, bytes: &[u8], take: &mut dyn FnMut(&[u8])) -> Result<(), DecodeError> {
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
            self.stop(error);
        }
        result
    }

    /// Stops the decoding, and releases the memory of the codings.
    fn stop(&mut self, error: DecodeError) {
        self.error = Some(error);
        self.first = None;
        self.stages.clear();
        self.share.release(usize::MAX);
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
