//! Server-sent events of models, as servers encode them, are decoded whole.

use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::{DataFormat, MZFlush};
use std::io::Write as _;

use super::{brotli_at, decode, gzip, zstd};

/// The number of words that the events choose from.
const WORDS: usize = 4_000;

/// Returns events with a word each, and nothing else that differs.
fn events(count: usize) -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(1);
    let words: Vec<String> = (0..WORDS)
        .map(|_| {
            let letters = random.usize(1..8);
            (0..letters).map(|_| random.lowercase()).collect()
        })
        .collect();
    (0..count)
        .map(|_| {
            let word = &words[random.usize(..WORDS)];
            format!(
                "data: {{\"id\":\"chatcmpl-0123456789abcdefghijklmnopqrs\",\"object\":\"chat.completion.chunk\",\"created\":1755097541,\"model\":\"gpt-4o-2024-08-06\",\"system_fingerprint\":\"fp_0123456789\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" {word}\"}},\"logprobs\":null,\"finish_reason\":null}}],\"usage\":null}}\n\n"
            )
            .into_bytes()
        })
        .collect()
}

/// Encodes events, each of which is flushed.
fn flushed_deflate(events: &[Vec<u8>]) -> Vec<u8> {
    let flags = create_comp_flags_from_zip_params(6, -15, 0);
    let mut compressor = CompressorOxide::new(flags);
    compressor.set_format_and_level(DataFormat::Raw, 6);
    let mut encoded = Vec::new();
    let mut output = [0; 4096];
    for event in events {
        let mut rest = &event[..];
        loop {
            let result = deflate(&mut compressor, rest, &mut output, MZFlush::Sync);
            rest = &rest[result.bytes_consumed..];
            encoded.extend_from_slice(&output[..result.bytes_written]);
            if rest.is_empty() && result.bytes_written < output.len() {
                break;
            }
        }
    }
    encoded
}

fn flushed_brotli(events: &[Vec<u8>], quality: u32) -> Vec<u8> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, quality, 22);
    for event in events {
        encoder.write_all(event).unwrap();
        encoder.flush().unwrap();
    }
    encoder.into_inner()
}

fn flushed_zstd(events: &[Vec<u8>]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    for event in events {
        encoder.write_all(event).unwrap();
        encoder.flush().unwrap();
    }
    encoder.finish().unwrap()
}

#[test]
fn flushed_events_are_decoded() {
    let events = events(6_000);
    let plain = events.concat();
    for (name, coding, encoded) in [
        ("deflate", "deflate", flushed_deflate(&events)),
        ("brotli 1", "br", flushed_brotli(&events, 1)),
        ("brotli 5", "br", flushed_brotli(&events, 5)),
        ("zstd", "zstd", flushed_zstd(&events)),
    ] {
        let ratio = plain.len() / encoded.len();
        let (result, decoder) = decode(coding, &encoded, 500);
        assert_eq!(decoder.error(), None, "{name}: {ratio}");
        assert!(result == plain, "{name}: {ratio}");
    }
}

#[test]
fn events_encoded_as_a_whole_are_decoded() {
    let plain = events(20_000).concat();
    for (name, coding, encoded) in [
        ("gzip", "gzip", gzip(&plain)),
        ("brotli 5", "br", brotli_at(&plain, 5, 22)),
        ("zstd 3", "zstd", zstd(&plain, 3)),
    ] {
        let ratio = plain.len() / encoded.len();
        let (result, decoder) = decode(coding, &encoded, 16_000);
        assert_eq!(decoder.error(), None, "{name}: {ratio}");
        assert!(result == plain, "{name}: {ratio}");
    }
}
