//! Measures how long the meter takes for bodies that take much work for their length.
//!
//! ```text
//! cargo run --profile native -p usage-meter --example hostile_codings
//! cargo run --profile native -p usage-meter --example hostile_codings -- FOLDER   # writes them to files as well
//! ```

use miniz_oxide::deflate::compress_to_vec;
use std::time::Instant;
use usage_meter::{DecoderMemory, Meter, RequestPath, ResponseHead, UsagePaths};

#[expect(dead_code, reason = "one is for tests of the decoder only")]
#[path = "../src/response/codings/decoder/tests/hostile.rs"]
mod hostile;

/// The length of the bodies in bytes: what Envoy passes on at once.
const LENGTH: usize = 64 * 1024;

fn main() {
    let folder = std::env::args().nth(1);
    for (name, coding, body) in bodies() {
        if let Some(folder) = &folder {
            let path = format!("{folder}/{name}.{}", coding.replace(", ", "-"));
            std::fs::write(path, &body).expect("the folder can be written to");
        }
        let mut best = f64::INFINITY;
        let mut error = None;
        let mut peak = 0;
        for _ in 0..5 {
            let memory = DecoderMemory::default();
            let head = ResponseHead {
                status: 200,
                content_type: Some(b"text/event-stream"),
                content_encoding: Some(coding.as_bytes()),
                path: RequestPath::of(b"/v1/chat/completions"),
                ..ResponseHead::default()
            };
            let start = Instant::now();
            let mut meter = Meter::with_paths(&head, &UsagePaths::default(), &memory);
            meter.push(&body);
            peak = memory.used_bytes();
            meter.finish();
            best = best.min(start.elapsed().as_secs_f64());
            error = meter.decoding_error();
        }
        let error = error.map_or_else(|| "decoded".to_owned(), |error| error.to_string());
        println!(
            "{name:24} {coding:10} {:6} bytes {:8.2} ms {:8} KB  {error}",
            body.len(),
            best * 1e3,
            peak / 1024
        );
    }
}

/// Returns bodies with their names and codings.
fn bodies() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let dense = |text: &str| text.repeat((4 << 20) / text.len());
    vec![
        ("header", "br", hostile::brotli_header()),
        ("small codes", "br", hostile::brotli_codes(LENGTH)),
        ("large codes", "br", hostile::brotli_large_codes(LENGTH)),
        ("context maps", "br", hostile::brotli_maps(LENGTH)),
        ("commands", "br", hostile::brotli_commands(LENGTH)),
        ("zeros", "br", hostile::brotli_zeros(256 << 20)),
        (
            "fixed blocks",
            "deflate",
            hostile::deflate_blocks(LENGTH, false),
        ),
        (
            "dynamic blocks",
            "deflate",
            hostile::deflate_blocks(LENGTH, true),
        ),
        ("codes", "zstd", hostile::zstd_codes(LENGTH)),
        ("sequences", "zstd", hostile::zstd_sequences(LENGTH, 40_000)),
        (
            "small sequences",
            "zstd",
            hostile::zstd_sequences(LENGTH, 0x7f00 + 4),
        ),
        ("brackets", "gzip", gzip(dense("[").as_bytes())),
        ("objects", "gzip", gzip(dense("{\"a\":1},").as_bytes())),
        (
            "events",
            "gzip",
            gzip(dense("data:{\"usage\":{}}\n\n").as_bytes()),
        ),
        ("lines", "gzip", gzip(dense("\n").as_bytes())),
        ("twice", "gzip, gzip", gzip(&gzip(dense("\n").as_bytes()))),
    ]
}

/// Returns a member of gzip.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    member.extend_from_slice(&compress_to_vec(bytes, 6));
    member.extend_from_slice(&[0; 8]);
    member
}
