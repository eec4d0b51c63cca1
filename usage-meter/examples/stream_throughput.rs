//! Measures what a stream of chat completions costs in the meter and in the filter that withholds its report, by the
//! size of the pieces in which it arrives. The bytes come out of Envoy's buffer and go back into it by copies, as in
//! the module.
//!
//! ```text
//! cargo run --profile native -p usage-meter --example stream_throughput
//! ```

use std::{hint::black_box, time::Instant};

use usage_meter::{Meter, ReportFilter, RequestPath, ResponseHead};

fn main() {
    for events in [96, 3_996] {
        for (name, null, is_withheld) in [
            ("the client requested usage", "", false),
            ("client, \"usage\":null", r#","usage":null"#, false),
            ("the filter requested usage", "", true),
            ("filter, \"usage\":null", r#","usage":null"#, true),
        ] {
            let body = stream(events, null);
            println!("{} events, {} bytes, {name}", events, body.len());
            for size in [16 * 1024, 64 * 1024] {
                let pieces: Vec<&[u8]> = body.chunks(size).collect();
                measure(&format!("pieces of {size}"), &pieces, is_withheld);
            }
            measure("event by event", &by_event(&body), is_withheld);
        }
    }
}

/// Runs a stream for a while and prints the best time.
fn measure(name: &str, pieces: &[&[u8]], is_withheld: bool) {
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    while begin.elapsed().as_millis() < 500 {
        let start = Instant::now();
        assert_eq!(black_box(pass(pieces, is_withheld)), Some(4_100));
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("  {name:20} {:9.1} µs", best * 1e6);
}

/// Passes a stream through the meter and the filter.
fn pass(pieces: &[&[u8]], is_withheld: bool) -> Option<u64> {
    let head = ResponseHead {
        status: 200,
        content_type: Some(b"text/event-stream"),
        path: RequestPath::of(b"/v1/chat/completions"),
        ..ResponseHead::default()
    };
    let mut meter = Meter::new(&head);
    let mut filter = is_withheld.then(ReportFilter::default);
    for (index, piece) in pieces.iter().enumerate() {
        let skipped = piece.len().saturating_sub(Meter::TAIL_BYTES);
        let is_long = skipped >= Meter::TAIL_BYTES && meter.may_skip();
        let tail = is_long.then(|| piece[skipped..].to_vec());
        let tail = tail.filter(|tail| meter.push_tail(skipped, tail));
        if let Some(tail) = &tail {
            let is_reported = meter.usage().is_some();
            let filter = filter.as_mut();
            if filter.is_none_or(|filter| filter.push_ends(&[], tail, is_reported)) {
                continue;
            }
        }
        let bytes = piece.to_vec();
        if tail.is_none() {
            meter.push(&bytes);
        }
        if let Some(filter) = &mut filter {
            let is_end = index + 1 == pieces.len();
            let passage = filter.push(bytes, meter.usage().is_some(), is_end);
            black_box(passage.replacement);
        }
    }
    meter.finish();
    Some(meter.usage()?.total_tokens)
}

fn stream(events: usize, null: &str) -> Vec<u8> {
    let head = r#"data: {"id":"chatcmpl-0123456789abcdefghijklmnopqrs","object":"chat.completion.chunk","created":1755097541,"model":"gpt-4o-2024-08-06","choices":["#;
    let chunk = |delta: &str, reason: &str| {
        format!("{head}{{\"index\":0,\"delta\":{delta},\"finish_reason\":{reason}}}]{null}}}\n\n")
    };
    let mut body = chunk(r#"{"role":"assistant","content":""}"#, "null");
    body += &chunk(r#"{"content":" word"}"#, "null").repeat(events);
    body += &chunk("{}", r#""stop""#);
    body += head;
    body +=
        "],\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":4000,\"total_tokens\":4100}}\n\n";
    body += "data: [DONE]\n\n";
    body.into_bytes()
}

fn by_event(body: &[u8]) -> Vec<&[u8]> {
    let ends = body.windows(2).enumerate();
    let ends = ends
        .filter(|(_, end)| *end == b"\n\n")
        .map(|(at, _)| at + 2);
    let mut from = 0;
    let event = |end| {
        let event = &body[from..end];
        from = end;
        event
    };
    ends.map(event).collect()
}
