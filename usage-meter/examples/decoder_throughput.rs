//! Measures the throughput of the decoders of content codings on this machine in decoded MB/s, compared with those of
//! libraries.
//!
//! ```text
//! cargo run --profile native -p usage-meter --example decoder_throughput
//! ```
//!
//! The bodies are compressed as servers do it: a stream of events is flushed after each event, or compressed as a whole;
//! a JSON document is compressed as a whole.

use std::hint::black_box;
use std::io::Write;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush};
use usage_meter::DecoderMemory;
use usage_meter::internals::Decoder;
use zstd::stream::raw::{Decoder as Zstd, InBuffer, Operation, OutBuffer};

/// The length in bytes of the pieces of a response.
const PIECE_BYTES: usize = 16 * 1024;

/// The length of a round.
const ROUND: Duration = Duration::from_millis(60);

/// The decoder of a library: decodes a body in pieces, and returns the number of decoded bytes.
type Library = fn(&[u8]) -> usize;

fn main() {
    let bodies = [
        ("events, each flushed", events(4_000), true),
        ("events", events(4_000), false),
        ("JSON", completion(400), false),
        ("embeddings", embeddings(20), false),
    ];
    for (name, parts, is_flushed) in &bodies {
        let length: usize = parts.iter().map(Vec::len).sum();
        println!("{name}, {length} bytes");
        for (coding, level, encoded, library) in encodings(parts, *is_flushed) {
            let ours = || decode(coding, &encoded);
            let [ours, theirs] = measure(length, [&ours, &|| library(&encoded)]);
            println!(
                "  {coding:8} {level:2} {:8} bytes {ours:8.0} MB/s, library {theirs:8.0} MB/s, {:4.2}",
                encoded.len(),
                ours / theirs
            );
        }
    }
}

fn encodings(parts: &[Vec<u8>], is_flushed: bool) -> Vec<(&'static str, i32, Vec<u8>, Library)> {
    vec![
        ("deflate", 6, zlib(parts, is_flushed, 6), inflate_all),
        ("br", 4, brotli(parts, is_flushed, 4), brotli_all),
        ("br", 5, brotli(parts, is_flushed, 5), brotli_all),
        ("br", 11, brotli(parts, is_flushed, 11), brotli_all),
        ("zstd", 3, zstandard(parts, is_flushed, 3), zstd_all),
    ]
}

/// The rounds in which ours and theirs take turns.
const ROUNDS: usize = 5;

/// The rates in decoded MB/s of two decoders that take turns: the best round of each.
fn measure(bytes: usize, decoders: [&dyn Fn() -> usize; 2]) -> [f64; 2] {
    let mut best = [0.0_f64; 2];
    for _ in 0..ROUNDS {
        for (best, decode) in best.iter_mut().zip(decoders) {
            *best = best.max(rate(bytes, decode));
        }
    }
    best
}

/// Returns the rate in MB/s of a round.
#[expect(
    clippy::cast_precision_loss,
    reason = "bodies have less than 2^52 bytes"
)]
fn rate(bytes: usize, decode: &dyn Fn() -> usize) -> f64 {
    let start = cpu_time();
    let mut decoded = 0;
    loop {
        assert_eq!(black_box(decode()), bytes);
        decoded += bytes;
        let elapsed = cpu_time().saturating_sub(start);
        if elapsed >= ROUND {
            return decoded as f64 / elapsed.as_secs_f64() / 1e6;
        }
    }
}

/// Returns the CPU time of this thread where Linux says it, which other programs do not change; else the time.
fn cpu_time() -> Duration {
    static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let of_thread = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = of_thread.and_then(|text| text.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| BEGIN.elapsed(), Duration::from_nanos)
}

fn decode(coding: &str, encoded: &[u8]) -> usize {
    let memory = DecoderMemory::default();
    let mut decoder = Decoder::new(coding.as_bytes(), &memory).expect("a coding");
    let mut count = 0;
    for piece in encoded.chunks(PIECE_BYTES) {
        decoder
            .push(piece, &mut |bytes| count += bytes.len())
            .expect("valid");
    }
    count
}

fn inflate_all(encoded: &[u8]) -> usize {
    let mut state = InflateState::new_boxed(DataFormat::Zlib);
    let mut output = vec![0; PIECE_BYTES];
    let mut count = 0;
    for piece in encoded.chunks(PIECE_BYTES) {
        let mut rest = piece;
        loop {
            let result = inflate(&mut state, rest, &mut output, MZFlush::None);
            count += result.bytes_written;
            rest = &rest[result.bytes_consumed..];
            if result.bytes_written < output.len() && rest.is_empty() {
                break;
            }
        }
    }
    count
}

fn brotli_all(encoded: &[u8]) -> usize {
    let alloc = StandardAlloc::default();
    let mut state = BrotliState::new(alloc, alloc, alloc);
    let mut output = vec![0; PIECE_BYTES];
    let mut count = 0;
    for piece in encoded.chunks(PIECE_BYTES) {
        let (mut left, mut from, mut total) = (piece.len(), 0, 0);
        loop {
            let (mut room, mut to) = (output.len(), 0);
            let result = BrotliDecompressStream(
                &mut left,
                &mut from,
                piece,
                &mut room,
                &mut to,
                &mut output,
                &mut total,
                &mut state,
            );
            count += to;
            if !matches!(result, BrotliResult::NeedsMoreOutput) {
                break;
            }
        }
    }
    count
}

fn zstd_all(encoded: &[u8]) -> usize {
    let mut decoder = Zstd::new().expect("memory");
    let mut output = vec![0; PIECE_BYTES];
    let mut count = 0;
    for piece in encoded.chunks(PIECE_BYTES) {
        let mut input = InBuffer::around(piece);
        loop {
            let mut room = OutBuffer::around(&mut output[..]);
            decoder.run(&mut input, &mut room).expect("valid");
            let length = room.as_slice().len();
            count += length;
            if length < PIECE_BYTES && input.pos() == piece.len() {
                break;
            }
        }
    }
    count
}

fn zlib(parts: &[Vec<u8>], is_flushed: bool, level: i32) -> Vec<u8> {
    let flags = create_comp_flags_from_zip_params(level, 15, 0);
    let mut compressor = CompressorOxide::new(flags);
    let mut encoded = Vec::new();
    let mut output = vec![0; PIECE_BYTES];
    for (index, part) in parts.iter().enumerate() {
        let flush = match (index + 1 == parts.len(), is_flushed) {
            (true, _) => MZFlush::Finish,
            (false, true) => MZFlush::Sync,
            (false, false) => MZFlush::None,
        };
        let mut rest = part.as_slice();
        loop {
            let result = deflate(&mut compressor, rest, &mut output, flush);
            encoded.extend_from_slice(&output[..result.bytes_written]);
            rest = &rest[result.bytes_consumed..];
            if rest.is_empty() && result.bytes_written < output.len() {
                break;
            }
        }
    }
    encoded
}

fn brotli(parts: &[Vec<u8>], is_flushed: bool, quality: u32) -> Vec<u8> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, quality, 22);
    write(&mut encoder, parts, is_flushed);
    encoder.into_inner()
}

fn zstandard(parts: &[Vec<u8>], is_flushed: bool, level: i32) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), level).expect("memory");
    write(&mut encoder, parts, is_flushed);
    encoder.finish().expect("memory")
}

fn write(encoder: &mut impl Write, parts: &[Vec<u8>], is_flushed: bool) {
    for part in parts {
        encoder.write_all(part).expect("memory");
        if is_flushed {
            encoder.flush().expect("memory");
        }
    }
}

/// Words that differ from one another as those of a text do.
fn words() -> impl Iterator<Item = String> {
    let mut random = fastrand::Rng::with_seed(1);
    let vocabulary: Vec<String> = (0..3_000)
        .map(|_| {
            let length = random.usize(2..10);
            (0..length).map(|_| random.lowercase()).collect()
        })
        .collect();
    // Few words are frequent, as in a text.
    std::iter::repeat_with(move || {
        let rank = random.f64().powi(3) * 2_999.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the rank is an index"
        )]
        vocabulary[rank as usize].clone()
    })
}

fn events(count: usize) -> Vec<Vec<u8>> {
    let event = |word: String| {
        format!(
            r#"data: {{"id":"chatcmpl-0123456789abcdefghijklmnopqrs","object":"chat.completion.chunk","created":1755097541,"model":"gpt-4o-2024-08-06","system_fingerprint":"fp_0123456789","choices":[{{"index":0,"delta":{{"content":" {word}"}},"logprobs":null,"finish_reason":null}}]}}"#,
        )
    };
    let texts = words().take(count).map(event);
    texts.map(|text| (text + "\n\n").into_bytes()).collect()
}

fn completion(count: usize) -> Vec<Vec<u8>> {
    let text: Vec<String> = words().take(count).collect();
    let text = text.join(" ");
    let body = format!(
        r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}","refusal":null}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":100,"completion_tokens":4000,"total_tokens":4100}}}}"#
    );
    vec![body.into_bytes()]
}

fn embeddings(count: usize) -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(1);
    let vectors: Vec<String> = (0..count)
        .map(|index| {
            let numbers: Vec<String> = (0..1_536)
                .map(|_| format!("{:.8}", random.f64() / 10.0 - 0.05))
                .collect();
            let vector = numbers.join(",");
            format!(r#"{{"object":"embedding","index":{index},"embedding":[{vector}]}}"#)
        })
        .collect();
    let data = vectors.join(",");
    let body = format!(
        r#"{{"object":"list","data":[{data}],"model":"text-embedding-3-small","usage":{{"prompt_tokens":100,"total_tokens":100}}}}"#
    );
    vec![body.into_bytes()]
}
