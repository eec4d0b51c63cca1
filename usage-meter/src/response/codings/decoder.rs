//! The decoder of one body.

use super::allowance::{Allowance, STEP_BYTES};
use super::coding::Coding;
use super::error::DecodeError;
use super::label::{Detected, FirstBytes, Label};
use super::memory::DecoderMemory;
use super::output::Output;
use super::{brotli, deflate, gzip, zstd};

#[cfg(test)]
mod tests;

/// The maximum number of codings of a body. Servers use one; a proxy may add another.
const MAX_CODINGS: usize = 2;

/// A decoder for all content codings of one body.
#[derive(Debug)]
pub struct Decoder {
    /// The codings in the order in which they are decoded.
    stages: Vec<Stage>,
    label: Label,
    /// The first bytes of the body, until they show whether it is encoded.
    first: Option<FirstBytes>,
    error: Option<DecodeError>,
    encoded_bytes: u64,
    has_decoded: bool,
}

/// A function that returns the stage of a coding, whose memory is paid for.
type NewStage = fn(&DecoderMemory) -> Result<Stage, DecodeError>;

#[derive(Debug)]
struct Stage {
    coding: Box<dyn Coding>,
    output: Output,
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
            encoded_bytes: 0,
            has_decoded: false,
        };
        let mut has_unknown = false;
        for name in content_encoding.rsplit(|byte| *byte == b',') {
            let name = name.split(|byte| *byte == b';').next().unwrap_or_default();
            let (new, label): (NewStage, _) =
                match name.trim_ascii().to_ascii_lowercase().as_slice() {
                    b"" | b"identity" | b"none" | b"utf-8" | b"utf8" => continue,
                    b"gzip" | b"x-gzip" => (Stage::new::<gzip::Gzip>, Label::Begins(b"\x1f\x8b")),
                    b"deflate" => (Stage::new::<deflate::Deflate>, Label::Any),
                    b"br" => (Stage::new::<brotli::Brotli>, Label::Any),
                    b"zstd" => (Stage::new::<zstd::Zstd>, Label::Begins(b"\x28\xb5\x2f\xfd")),
                    _ => {
                        has_unknown = true;
                        continue;
                    }
                };
            if decoder.stages.len() >= MAX_CODINGS {
                decoder.stop(DecodeError::Unknown);
                break;
            }
            if decoder.stages.is_empty() {
                decoder.label = label;
            }
            match new(memory) {
                Ok(stage) => {
                    decoder.stages.reserve_exact(1);
                    decoder.stages.push(stage);
                }
                Err(error) => {
                    decoder.stop(error);
                    break;
                }
            }
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
        for stage in &mut self.stages {
            stage.output.begin_bytes();
        }
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
        let is_read = self.error.is_some() || self.has_decoded || self.has_ended();
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
            Detected::Text => self.stages = Vec::new(),
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
        if self.stages.is_empty() {
            self.encoded_bytes = self.encoded_bytes.saturating_add(bytes.len() as u64);
            take(bytes);
            return Ok(());
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            // A step ends at a multiple of its length, however the body is divided into pieces.
            let done = self.encoded_bytes.checked_rem(STEP_BYTES as u64);
            let done = usize::try_from(done.unwrap_or(0)).unwrap_or(0);
            let length = STEP_BYTES.saturating_sub(done);
            let (step, others) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = others;
            self.encoded_bytes = self.encoded_bytes.saturating_add(step.len() as u64);
            for stage in &mut self.stages {
                stage.output.allow(self.encoded_bytes);
            }
            let has_decoded = &mut self.has_decoded;
            let result = decode(&mut self.stages, step, &mut |bytes| {
                *has_decoded = true;
                take(bytes);
            });
            if let Err(error) = result {
                self.stop(error);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Stops the decoding, and releases the memory of the codings.
    fn stop(&mut self, error: DecodeError) {
        self.error = Some(error);
        self.first = None;
        self.stages = Vec::new();
    }
}

// === impl Stage ===

impl Stage {
    fn new<C: Coding + Default + 'static>(memory: &DecoderMemory) -> Result<Self, DecodeError> {
        let mut allowance = Allowance::new(memory);
        // The list of stages is moved when it grows.
        let listed = size_of::<Self>().saturating_mul(MAX_CODINGS.saturating_add(1));
        allowance.pay_bytes(size_of::<C>().saturating_add(listed))?;
        Ok(Self {
            coding: Box::<C>::default(),
            output: Output::new(allowance),
        })
    }
}

/// Decodes bytes with the first stage, and what that yields with the others. Recurses once for each
/// stage.
fn decode(
    stages: &mut [Stage],
    bytes: &[u8],
    take: &mut dyn FnMut(&[u8]),
) -> Result<(), DecodeError> {
    let Some((Stage { coding, output }, others)) = stages.split_first_mut() else {
        take(bytes);
        return Ok(());
    };
    let mut rest = bytes;
    loop {
        let result = coding.decode(&mut rest, output);
        let is_full = output.is_full();
        if !output.ready().is_empty() {
            decode(others, output.ready(), take)?;
            if others.is_empty() {
                output.count_lines();
            }
            output.pass_on();
        }
        result?;
        if !is_full {
            return Ok(());
        }
    }
}
