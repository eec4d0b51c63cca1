//! Content codings (RFC 9110, section 8.4), decoded as the bytes pass.
//!
//! Only the meter reads the decoded bytes; the response itself is not changed. So an error here fails no
//! response, it only stops the decoding: on corrupt bytes, on an unknown coding of what is not text, and on
//! bodies that decode to more than a hundred times their length. Checksums are not verified: the client
//! does that, after the usage has been read.

mod brotli;
mod coding;
mod decoder;
mod deflate;
mod gzip;
mod label;
mod memory;
mod zstd;

pub use coding::DecodeError;
pub use decoder::Decoder;
pub use memory::DecoderMemory;
