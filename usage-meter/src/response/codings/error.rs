//! The reason why decoding stopped.

/// The reason why decoding stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not valid in their coding.
    #[error("corrupt")]
    Corrupt,
    /// The coding is unknown, or there are too many.
    #[error("unknown content coding")]
    Unknown,
    /// The body takes too much work for its length: it decodes to too many bytes, or has too many tables.
    #[error("too much work for its length")]
    TooLarge,
    /// The window exceeds what decoders keep.
    #[error("window too large")]
    Window,
    /// The decoders of the worker have no memory left.
    #[error("out of decoder memory")]
    Memory,
}
