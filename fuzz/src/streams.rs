//! Encoded bodies, built as an input says: random bytes alone seldom get past the headers of a coding.

use flate2::{Compression, GzBuilder, write::DeflateEncoder, write::ZlibEncoder};
use std::io::Write;
use zstd::stream::raw::CParameter;

/// The most bytes of a body before it is encoded.
const MAX_BYTES: usize = 256 << 10;

/// The most bytes that are encoded with the best qualities of brotli and zstd, which are slow.
const MAX_BEST_BYTES: usize = 8 << 10;

/// A body that was encoded.
#[derive(Debug, Default)]
pub struct Body {
    /// The coding.
    pub coding: &'static [u8],
    /// The body before it was encoded.
    pub plain: Vec<u8>,
    /// The encoded body.
    pub encoded: Vec<u8>,
    /// Where the encoder was flushed: the lengths of `encoded` and of `plain`.
    pub flushes: Vec<(usize, usize)>,
}

/// The settings of an encoder.
#[derive(Clone, Copy, Debug)]
struct Settings {
    level: u8,
    window: u8,
    /// A bit for each option of a coding.
    options: u8,
}

/// A part of a body.
#[derive(Clone, Copy, Debug)]
struct Part<'a> {
    bytes: &'a [u8],
    repetitions: usize,
    /// Whether the encoder is flushed after it.
    is_flushed: bool,
}

/// Builds a body in the coding that a letter stands for. Three bytes are settings. Each line after them is a part of the
/// body, whose first byte says how often it is repeated and whether it is flushed.
#[must_use]
pub fn build(letter: u8, data: &[u8]) -> Option<Body> {
    let (&[level, window, options], text) = data.split_first_chunk()?;
    let settings = Settings {
        level,
        window,
        options,
    };
    let parts = parts(text);
    let mut body = match letter {
        b'B' => brotli(settings, &parts),
        b'M' => meta_blocks(settings, &parts),
        b'D' => deflate(settings, &parts),
        b'G' => gzip(settings, &parts),
        b'Z' => zstandard(settings, &parts),
        _ => return None,
    };
    body.plain = parts.iter().flat_map(|part| part.all()).collect();
    Some(body)
}

// === impl Body ===

impl Body {
    /// Appends an encoded part of the body with its flushes; so many bytes before they were encoded precede it.
    fn append(&mut self, flushes: &[(usize, usize)], encoded: &[u8], plain: usize) {
        let at = self.encoded.len();
        let flushes = flushes.iter();
        self.flushes
            .extend(flushes.map(|flush| (at + flush.0, plain + flush.1)));
        self.encoded.extend_from_slice(encoded);
    }
}

// === impl Part ===

impl Part<'_> {
    fn all(&self) -> Vec<u8> {
        self.bytes.repeat(self.repetitions)
    }
}

fn parts(text: &[u8]) -> Vec<Part<'_>> {
    let mut left = MAX_BYTES;
    let mut parts = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Some((first, bytes)) = line.split_first() else {
            continue;
        };
        let repetitions = (1 << (first & 15)).min(left / bytes.len().max(1));
        left -= repetitions * bytes.len();
        parts.push(Part {
            bytes,
            repetitions,
            is_flushed: first & 16 != 0,
        });
    }
    parts
}

/// Returns the number of bytes of parts.
fn length(parts: &[Part<'_>]) -> usize {
    parts
        .iter()
        .map(|part| part.bytes.len() * part.repetitions)
        .sum()
}

/// Writes the parts to an encoder, and notes where it was flushed.
fn write<W: Write>(writer: &mut W, parts: &[Part<'_>], encoded: impl Fn(&W) -> usize) -> Body {
    let mut flushes = Vec::new();
    let mut plain = 0;
    for part in parts {
        let bytes = part.all();
        plain += bytes.len();
        writer.write_all(&bytes).expect("memory");
        if part.is_flushed {
            writer.flush().expect("memory");
            flushes.push((encoded(writer), plain));
        }
    }
    Body {
        flushes,
        ..Body::default()
    }
}

fn brotli(settings: Settings, parts: &[Part<'_>]) -> Body {
    let best = if length(parts) > MAX_BEST_BYTES {
        9
    } else {
        11
    };
    let params = brotli::enc::BrotliEncoderParams {
        quality: i32::from(settings.level % 12).min(best),
        lgwin: 10 + i32::from(settings.window % 15),
        lgblock: match settings.options & 7 {
            0 => 0,
            option => 15 + i32::from(option),
        },
        mode: match settings.options >> 3 & 3 {
            1 => brotli::enc::backward_references::BrotliEncoderMode::BROTLI_MODE_TEXT,
            2 => brotli::enc::backward_references::BrotliEncoderMode::BROTLI_MODE_FONT,
            _ => brotli::enc::backward_references::BrotliEncoderMode::BROTLI_MODE_GENERIC,
        },
        ..Default::default()
    };
    let mut writer = brotli::CompressorWriter::with_params(Vec::new(), 4096, &params);
    let body = write(&mut writer, parts, |writer| writer.get_ref().len());
    Body {
        coding: b"br",
        encoded: writer.into_inner(),
        ..body
    }
}

/// Bits from the lowest of each byte on.
#[derive(Debug, Default)]
struct Bits {
    bytes: Vec<u8>,
    /// The number of bits of the last byte.
    used: u32,
}

// === impl Bits ===

impl Bits {
    fn push(&mut self, value: usize, count: u32) {
        for bit in 0..count {
            if self.used == 0 {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= u8::from(value >> bit & 1 == 1) << self.used;
            }
            self.used = (self.used + 1) % 8;
        }
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        self.used = 0;
        self.bytes.extend_from_slice(bytes);
    }
}

/// Writes uncompressed and empty meta-blocks, and those of metadata, as no encoder does.
fn meta_blocks(settings: Settings, parts: &[Part<'_>]) -> Body {
    let mut bits = Bits::default();
    match settings.window % 3 {
        0 => bits.push(0, 1),
        1 => bits.push(0x0f, 4),
        _ => bits.push(0x21, 7),
    }
    let mut flushes = Vec::new();
    let mut plain = 0;
    for (index, part) in parts.iter().enumerate() {
        let bytes = part.all();
        let other = settings.options >> (index % 8) & 1 == 1;
        if other {
            // Metadata, which may be empty.
            let length = usize::from(settings.level) % 3 * part.bytes.len();
            bits.push(0, 1);
            bits.push(3, 2);
            bits.push(0, 1);
            let width = match length {
                0 => 0,
                1..=0x100 => 1,
                0x101..=0x1_0000 => 2,
                _ => 3,
            };
            bits.push(width as usize, 2);
            bits.push(length.saturating_sub(1), width * 8);
            bits.push_bytes(&part.bytes.repeat(usize::from(settings.level) % 3));
        }
        for chunk in bytes.chunks(0x1_0000) {
            bits.push(0, 1);
            bits.push(0, 2);
            bits.push(chunk.len() - 1, 16);
            bits.push(1, 1);
            bits.push_bytes(chunk);
        }
        plain += bytes.len();
        flushes.push((bits.bytes.len(), plain));
    }
    bits.push(3, 2);
    Body {
        coding: b"br",
        encoded: bits.bytes,
        flushes,
        ..Body::default()
    }
}

fn deflate(settings: Settings, parts: &[Part<'_>]) -> Body {
    let level = Compression::new(u32::from(settings.level % 11));
    let (body, encoded) = if settings.options & 1 == 1 {
        let mut writer = DeflateEncoder::new(Vec::new(), level);
        let body = write(&mut writer, parts, |writer| writer.get_ref().len());
        (body, writer.finish())
    } else {
        let mut writer = ZlibEncoder::new(Vec::new(), level);
        let body = write(&mut writer, parts, |writer| writer.get_ref().len());
        (body, writer.finish())
    };
    Body {
        coding: b"deflate",
        encoded: encoded.expect("memory"),
        ..body
    }
}

/// Writes members, one more for each option, with some of the fields of a header.
fn gzip(settings: Settings, parts: &[Part<'_>]) -> Body {
    let level = Compression::new(u32::from(settings.level % 11));
    let members = 1 + usize::from(settings.options & 3);
    let mut all = Body {
        coding: b"gzip",
        ..Body::default()
    };
    let mut plain = 0;
    for parts in parts.chunks(parts.len().div_ceil(members).max(1)) {
        let mut builder = GzBuilder::new();
        if settings.options & 4 != 0 {
            builder = builder.filename("name").comment("comment");
        }
        if settings.options & 8 != 0 {
            builder = builder.extra(vec![7; usize::from(settings.window)]);
        }
        let mut writer = builder.write(Vec::new(), level);
        let body = write(&mut writer, parts, |writer| writer.get_ref().len());
        all.append(&body.flushes, &writer.finish().expect("memory"), plain);
        plain += length(parts);
    }
    all
}

/// Writes frames, one more for each option, with frames between them that are skipped.
fn zstandard(settings: Settings, parts: &[Part<'_>]) -> Body {
    let frames = 1 + usize::from(settings.options & 3);
    let mut all = Body {
        coding: b"zstd",
        ..Body::default()
    };
    let mut plain = 0;
    for parts in parts.chunks(parts.len().div_ceil(frames).max(1)) {
        let best = if length(parts) > MAX_BEST_BYTES {
            6
        } else {
            16
        };
        let level = (i32::from(settings.level % 20) - 3).min(best);
        let mut writer = zstd::Encoder::new(Vec::new(), level).expect("memory");
        let mut set = |parameter| writer.set_parameter(parameter).expect("valid");
        set(CParameter::ChecksumFlag(settings.options & 4 != 0));
        set(CParameter::WindowLog(10 + u32::from(settings.window % 14)));
        if settings.options & 8 != 0 {
            let bytes = parts.iter().map(|part| part.all().len() as u64).sum();
            writer.set_pledged_src_size(Some(bytes)).expect("valid");
        }
        let body = write(&mut writer, parts, |writer| writer.get_ref().len());
        all.append(&body.flushes, &writer.finish().expect("memory"), plain);
        plain += length(parts);
        if settings.options & 16 != 0 {
            all.encoded
                .extend_from_slice(&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
        }
    }
    all
}
