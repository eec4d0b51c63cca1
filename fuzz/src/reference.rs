//! The decoders of the libraries, which those of the meter are held against.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::Crc;
use flate2::bufread::GzDecoder;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
use std::io::Read;
use zstd::stream::raw::{DParameter, Decoder as Zstd, InBuffer, Operation, OutBuffer};

/// The most bytes that are decoded here. Those of the meter may decode more.
const MAX_BYTES: usize = 1 << 20;

/// How the decoding of a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The body is complete.
    Complete,
    /// It needs more bytes.
    Incomplete,
    /// It is corrupt.
    Corrupt,
    /// It decodes to more bytes than are decoded here.
    Large,
}

/// A body, decoded by a library.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The decoded bytes.
    pub bytes: Vec<u8>,
    /// How the decoding ended.
    pub end: End,
}

/// Decodes a body in a coding; `None` if no library here says what is valid in it.
#[must_use]
pub fn decode(coding: &[u8], encoded: &[u8]) -> Option<Decoded> {
    match coding {
        b"br" => Some(brotli(encoded)),
        b"deflate" => Some(deflate(encoded)),
        b"gzip" => Some(gzip(encoded)),
        b"zstd" => Some(zstd(encoded)),
        _ => None,
    }
}

fn brotli(encoded: &[u8]) -> Decoded {
    let alloc = StandardAlloc::default();
    let mut state = BrotliState::new_strict(alloc, alloc, alloc);
    let mut bytes = vec![0; MAX_BYTES];
    let (mut input, mut from) = (encoded.len(), 0);
    let (mut room, mut to, mut total) = (bytes.len(), 0, 0);
    let result = BrotliDecompressStream(
        &mut input, &mut from, encoded, &mut room, &mut to, &mut bytes, &mut total, &mut state,
    );
    bytes.truncate(to);
    let end = match result {
        BrotliResult::ResultSuccess => End::Complete,
        BrotliResult::NeedsMoreInput => End::Incomplete,
        BrotliResult::NeedsMoreOutput => End::Large,
        BrotliResult::ResultFailure => End::Corrupt,
    };
    Decoded { bytes, end }
}

/// Decodes zlib, or what has no header of zlib as raw DEFLATE. The checksum is not read.
fn deflate(encoded: &[u8]) -> Decoded {
    let stopped = |end| Decoded {
        bytes: Vec::new(),
        end,
    };
    let raw = match encoded {
        [] => return stopped(End::Incomplete),
        [first, ..] if first & 15 != 8 || first >> 4 > 7 => encoded,
        [_] => return stopped(End::Incomplete),
        [first, second, raw @ ..] => {
            let header = u16::from_be_bytes([*first, *second]);
            if header % 31 != 0 || second & 32 != 0 {
                return stopped(End::Corrupt);
            }
            raw
        }
    };
    let mut bytes = vec![0; MAX_BYTES];
    let (end, count, _) = inflate(raw, &mut bytes);
    bytes.truncate(count);
    Decoded { bytes, end }
}

/// Decodes the members of gzip. Their blocks are not decoded by flate2: its window wraps, and so it accepts
/// matches that begin before the first byte, which section 2 of RFC 1951 does not allow.
fn gzip(encoded: &[u8]) -> Decoded {
    let mut bytes = Vec::new();
    let mut member = vec![0; MAX_BYTES];
    let mut rest = encoded;
    let end = loop {
        let mut header = GzDecoder::new(rest);
        if header.header().is_none() {
            break match header.read(&mut [0]) {
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => End::Incomplete,
                _ => End::Corrupt,
            };
        }
        let raw = header.into_inner();
        let (end, count, read) = inflate(raw, &mut member);
        bytes.extend_from_slice(&member[..count]);
        if end != End::Complete {
            break end;
        }
        if bytes.len() > MAX_BYTES {
            break End::Large;
        }
        let Some((trailer, next)) = raw[read..].split_first_chunk::<8>() else {
            break End::Incomplete;
        };
        let mut crc = Crc::new();
        crc.update(&member[..count]);
        if *trailer != (u64::from(crc.amount()) << 32 | u64::from(crc.sum())).to_le_bytes() {
            break End::Corrupt;
        }
        if next.is_empty() {
            break End::Complete;
        }
        rest = next;
    };
    Decoded { bytes, end }
}

/// Decodes DEFLATE blocks to the start of `bytes`. Returns how that ended, and the number of bytes that were
/// decoded and read.
fn inflate(raw: &[u8], bytes: &mut [u8]) -> (End, usize, usize) {
    let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF
        | inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
    let mut state = DecompressorOxide::new();
    let (status, read, count) = decompress(&mut state, raw, bytes, 0, flags);
    let end = match status {
        TINFLStatus::Done => End::Complete,
        TINFLStatus::NeedsMoreInput | TINFLStatus::FailedCannotMakeProgress => End::Incomplete,
        TINFLStatus::HasMoreOutput => End::Large,
        _ => End::Corrupt,
    };
    (end, count, read)
}

fn zstd(encoded: &[u8]) -> Decoded {
    let mut decoder = Zstd::new().expect("memory");
    decoder
        .set_parameter(DParameter::WindowLogMax(23))
        .expect("8 MiB are a window");
    let mut input = InBuffer::around(encoded);
    let mut bytes = Vec::new();
    let mut piece = vec![0; 128 << 10];
    let end = loop {
        let before = input.pos();
        let mut output = OutBuffer::around(&mut piece[..]);
        let hint = match decoder.run(&mut input, &mut output) {
            Ok(hint) => hint,
            Err(_) => break End::Corrupt,
        };
        let count = output.as_slice().len();
        bytes.extend_from_slice(output.as_slice());
        if bytes.len() > MAX_BYTES {
            break End::Large;
        }
        if count == 0 && input.pos() == before {
            break if hint == 0 {
                End::Complete
            } else {
                End::Incomplete
            };
        }
        if hint == 0 && input.pos() == encoded.len() {
            break End::Complete;
        }
    };
    Decoded { bytes, end }
}
