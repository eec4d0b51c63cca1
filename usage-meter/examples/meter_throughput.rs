//! Measures the throughput of the meter on this machine in GB/s, compared with a JSON parser.
//!
//! ```text
//! cargo run --profile native -p usage-meter --example meter_throughput
//! ```

use std::{hint::black_box, time::Instant};

use usage_meter::{DecoderMemory, Meter, RequestPath, ResponseHead, UsageNumber, UsagePaths};

/// The length in bytes of the pieces of a response.
const PIECE_BYTES: usize = 16 * 1024;

fn main() {
    let paths = UsagePaths::default();
    // With a pointer outside `usage`, no event can be skipped.
    let pointer = "/tokens".parse().expect("a valid pointer");
    let other_paths = UsagePaths::new([(UsageNumber::Total, &pointer)]).expect("one pointer");
    for (name, usage) in [
        ("usage in the last event", ""),
        ("\"usage\":null in each", r#","usage":null"#),
    ] {
        let body = events(4_000, usage);
        let sse = "text/event-stream";
        println!("server-sent events, {} bytes, {name}", body.len());
        measure("  meter", body.len(), || meter(sse, &body, &paths));
        measure("  meter, every event scanned", body.len(), || {
            meter(sse, &body, &other_paths)
        });
        measure("  serde_json, event by event", body.len(), || parse(&body));
    }
    let json = "application/json";
    let body = completion(2_000);
    println!("JSON, {} bytes", body.len());
    measure("  meter", body.len(), || meter(json, &body, &paths));
    measure("  serde_json", body.len(), || {
        serde_json::from_slice::<serde_json::Value>(&body)
            .ok()
            .and_then(|value| value["usage"]["total_tokens"].as_u64())
    });
    let body = completion(500_000);
    println!("JSON, {} bytes", body.len());
    measure("  meter", body.len(), || meter(json, &body, &paths));
    let body = embeddings(100_000);
    println!("JSON of numbers, {} bytes", body.len());
    measure("  meter", body.len(), || meter(json, &body, &paths));
}

/// Runs `read` for a while and prints the best rate.
fn measure(name: &str, bytes: usize, read: impl Fn() -> Option<u64>) {
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    while begin.elapsed().as_millis() < 500 {
        let start = Instant::now();
        assert_eq!(black_box(read()), Some(4_100));
        best = best.min(start.elapsed().as_secs_f64());
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "bodies have less than 2^52 bytes"
    )]
    let rate = bytes as f64 / best / 1e9;
    println!("{name:32} {rate:6.2} GB/s {:9.1} µs", best * 1e6);
}

fn meter(content_type: &str, body: &[u8], paths: &UsagePaths) -> Option<u64> {
    let head = ResponseHead {
        status: 200,
        content_type: Some(content_type.as_bytes()),
        path: RequestPath::of(b"/v1/chat/completions"),
        ..ResponseHead::default()
    };
    let mut meter = Meter::with_paths(&head, paths, &DecoderMemory::default());
    for piece in body.chunks(PIECE_BYTES) {
        meter.push(piece);
    }
    meter.finish();
    Some(meter.usage()?.total_tokens)
}

fn parse(body: &[u8]) -> Option<u64> {
    let mut total = None;
    for line in body.split(|byte| *byte == b'\n') {
        let value = line
            .strip_prefix(b"data: ")
            .and_then(|data| serde_json::from_slice::<serde_json::Value>(data).ok());
        total = value
            .and_then(|value| value["usage"]["total_tokens"].as_u64())
            .or(total);
    }
    total
}

const REPORT: &str = r#""usage":{"prompt_tokens":100,"completion_tokens":4000,"total_tokens":4100,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}"#;

fn events(count: usize, usage: &str) -> Vec<u8> {
    let head = r#"data: {"id":"chatcmpl-0123456789abcdefghijklmnopqrs","object":"chat.completion.chunk","created":1755097541,"model":"gpt-4o-2024-08-06","system_fingerprint":"fp_0123456789","choices":["#;
    let mut body = Vec::new();
    for _ in 0..count {
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(
            br#"{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]"#,
        );
        body.extend_from_slice(usage.as_bytes());
        body.extend_from_slice(b"}\n\n");
    }
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(format!("],{REPORT}}}\n\ndata: [DONE]\n\n").as_bytes());
    body
}

fn completion(text: usize) -> Vec<u8> {
    let text = "Some words and a line.\\n".repeat(text / 24);
    format!(
        r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}","refusal":null}},"finish_reason":"stop"}}],{REPORT}}}"#
    )
    .into_bytes()
}

fn embeddings(count: usize) -> Vec<u8> {
    let numbers = vec!["-0.0123456789"; count].join(",");
    format!(
        r#"{{"object":"list","data":[{{"object":"embedding","embedding":[{numbers}]}}],{REPORT}}}"#
    )
    .into_bytes()
}
