//! Content codings (RFC 9110, section 8.4), decoded as the bytes pass.
//!
//! Only the meter reads the decoded bytes; the response itself is not changed. So an error here fails no
//! response, it only stops the decoding: on corrupt bytes, on an unknown coding of what is not text, and on
//! bodies that take too much work for their length. Checksums are not verified: the client
//! does that, after the usage has been read.

mod allowance;
mod bits;
mod brotli;
mod coding;
mod decoder;
mod deflate;
mod error;
mod gzip;
mod inflate;
mod label;
mod memory;
mod output;
mod prefix_code;
mod zstd;

pub use decoder::Decoder;
pub use error::DecodeError;
pub use memory::DecoderMemory;
