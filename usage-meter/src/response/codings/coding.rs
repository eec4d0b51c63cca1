//! The interface of one coding.

/// The reason why decoding stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not valid in their coding.
    #[error("corrupt")]
    Corrupt,
    /// The coding is unknown, or there are too many.
    #[error("unknown content coding")]
    Unknown,
    /// The body decodes to too many bytes.
    #[error("decoded to too many bytes")]
    TooLarge,
    /// The window exceeds what decoders keep.
    #[error("window too large")]
    Window,
    /// The decoders of the worker have no memory left.
    #[error("out of decoder memory")]
    Memory,
}

/// The progress of a step. If both are 0, the coding needs more input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The number of bytes that were read from the input.
    pub(super) read: usize,
    /// The number of bytes that were written to the output.
    pub(super) written: usize,
}

/// A content coding.
pub(super) trait Coding: std::fmt::Debug {
    /// Decodes a part of `input` to `output`.
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, DecodeError>;

    /// Returns whether the input has ended according to the coding.
    fn has_ended(&self) -> bool;
}
