use proptest::prelude::*;

use super::base64::Decoder;
use super::headers::{MessageKind, message_kind};
use crate::{Meter, RequestPath, ResponseHead};

/// Encodes a message with these string headers.
fn message(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for (name, value) in headers {
        encoded.push(u8::try_from(name.len()).unwrap());
        encoded.extend_from_slice(name.as_bytes());
        encoded.push(7);
        encoded.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        encoded.extend_from_slice(value.as_bytes());
    }
    let total = u32::try_from(16 + encoded.len() + payload.len()).unwrap();
    let mut message = total.to_be_bytes().to_vec();
    message.extend_from_slice(&u32::try_from(encoded.len()).unwrap().to_be_bytes());
    message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
    message.extend_from_slice(&encoded);
    message.extend_from_slice(payload);
    message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
    message
}

fn event(kind: &str, payload: &str) -> Vec<u8> {
    message(
        &[
            (":event-type", kind),
            (":content-type", "application/json"),
            (":message-type", "event"),
        ],
        payload.as_bytes(),
    )
}

fn chunk(document: &str) -> Vec<u8> {
    event(
        "chunk",
        &format!(
            r#"{{"bytes":"{}","p":"abcd"}}"#,
            encode(document.as_bytes())
        ),
    )
}

/// Encodes Base64 (RFC 4648) as JSON may have it, with escaped slashes.
fn encode(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .fold(0_usize, |bits, byte| (bits << 8) | usize::from(*byte))
            << (8 * (3 - group.len()));
        for place in 0..4 {
            if place <= group.len() {
                text.push(char::from(ALPHABET[(bits >> (18 - 6 * place)) & 63]));
            } else {
                text.push('=');
            }
        }
    }
    text.replace('/', "\\/")
}

#[test]
fn headers_of_every_type_are_skipped() {
    // The sizes of the types, of AWS' reference of the event stream encoding: booleans, integers, a timestamp, a UUID.
    for (kind, size) in [
        (0, 0),
        (1, 0),
        (2, 1),
        (3, 2),
        (4, 4),
        (5, 8),
        (8, 8),
        (9, 16),
    ] {
        let mut headers = vec![1, b'x', kind];
        headers.extend(vec![0xff; size]);
        headers.push(11);
        headers.extend_from_slice(b":event-type\x07\0\x08metadata");
        assert_eq!(message_kind(&headers), MessageKind::Metadata, "{kind}");
    }
}

fn meter() -> Meter {
    Meter::new(&ResponseHead {
        status: 200,
        content_type: Some(b"application/vnd.amazon.eventstream"),
        path: RequestPath::of(b"/model/m/converse-stream"),
        ..ResponseHead::default()
    })
}

fn read(body: &[u8], piece: usize) -> Meter {
    let mut meter = meter();
    for piece in body.chunks(piece) {
        meter.push(piece);
    }
    meter.finish();
    meter
}

fn total(meter: &Meter) -> Option<u64> {
    meter.usage().map(|usage| usage.total_tokens)
}

fn converse() -> Vec<u8> {
    [
        event("messageStart", r#"{"role":"assistant","p":"ab"}"#),
        event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"Hello"},"p":"abc"}"#),
        event("messageStop", r#"{"stopReason":"end_turn"}"#),
        event("metadata", r#"{"metrics":{"latencyMs":5},"usage":{"inputTokens":24,"outputTokens":87,"totalTokens":111}}"#),
    ]
    .concat()
}

#[test]
fn converse_stream_is_read() {
    let body = converse();
    for piece in [1, 3, 50, body.len()] {
        let meter = read(&body, piece);
        assert_eq!(total(&meter), Some(111));
        assert_eq!(meter.output_bytes(), 5);
        assert!(meter.is_likely_final() && meter.is_completion());
    }
    let mut meter = meter();
    meter.push(&body[..body.len() - 1]);
    assert!(!meter.is_likely_final());
}

#[test]
fn documents_in_chunks_are_read() {
    let body = [
        chunk(r#"{"type":"message_start","message":{"model":"claude","usage":{"input_tokens":73,"output_tokens":1}}}"#),
        chunk(r#"{"type":"content_block_delta","delta":{"text":"??>>??"}}"#),
        chunk(r#"{"type":"message_delta","usage":{"output_tokens":9}}"#),
        chunk(r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":73,"outputTokenCount":8}}"#),
    ]
    .concat();
    for piece in [1, 7, body.len()] {
        let meter = read(&body, piece);
        assert_eq!(total(&meter), Some(82));
        assert_eq!((meter.model(), meter.output_bytes()), (Some("claude"), 6));
        assert!(meter.is_likely_final());
    }
}

#[test]
fn platform_counts_without_report_of_model() {
    let body = [
        chunk(r#"{"outputText":"hi","inputTextTokenCount":25,"totalOutputTextTokenCount":null}"#),
        chunk(r#"{"outputText":"","totalOutputTextTokenCount":4,"inputTextTokenCount":25,"amazon-bedrock-invocationMetrics":{"inputTokenCount":25,"outputTokenCount":4}}"#),
    ]
    .concat();
    assert_eq!(total(&read(&body, 10)), Some(29));
}

#[test]
fn exception_is_not_likely_final() {
    let exception = message(
        &[
            (":message-type", "exception"),
            (":exception-type", "throttlingException"),
        ],
        br#"{"message":"slow down","usage":{"inputTokens":1}}"#,
    );
    let mut body = event("contentBlockDelta", r#"{"delta":{"text":"Hello"}}"#);
    body.extend(&exception);
    let meter = read(&body, 20);
    assert_eq!((total(&meter), meter.is_likely_final()), (None, false));
    assert!(meter.is_completion());
    assert!(!read(&exception, 20).is_completion(), "without any output");
}

#[test]
fn corrupt_exception_leaves_a_completion() {
    let exception = message(
        &[
            (":message-type", "exception"),
            (":exception-type", "throttlingException"),
        ],
        br#"{"message":"slow down"}"#,
    );
    assert!(!read(&exception, 20).is_completion());
    let mut corrupt = exception;
    *corrupt.last_mut().unwrap() ^= 1;
    assert!(read(&corrupt, 20).is_completion(), "it may be anything");
}

#[test]
fn message_without_its_checksum_counts() {
    let whole = converse();
    let expected = total(&read(&whole, 64));
    assert!(expected.is_some());
    for missing in 1..=5 {
        let cut = &whole[..whole.len() - missing];
        assert_eq!(total(&read(cut, 64)), expected, "{missing}");
    }
}

#[test]
fn corrupt_message_does_not_count() {
    let good = converse();
    let start = good.len() - event("metadata", "").len() - 90;
    for at in [start + 40, good.len() - 30, good.len() - 1] {
        let mut body = good.clone();
        body[at] ^= 1;
        // Messages after it do not count either.
        body.extend_from_slice(&good);
        let meter = read(&body, 64);
        assert_eq!(
            (total(&meter), meter.is_likely_final()),
            (None, false),
            "{at}"
        );
        assert!(meter.is_completion());
    }
}

#[test]
fn invalid_lengths_report_no_usage() {
    for (total, headers) in [
        (16_u32, 1_u32),
        (0, 0),
        (15, 0),
        (20, u32::MAX),
        (u32::MAX, 0),
    ] {
        let mut body = total.to_be_bytes().to_vec();
        body.extend_from_slice(&headers.to_be_bytes());
        body.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
        body.extend_from_slice(&[b'{'; 1000]);
        let meter = read(&body, 100);
        assert_eq!(meter.usage(), None);
    }
}

proptest! {
    #[test]
    fn any_headers_do_not_panic(headers: Vec<u8>) {
        let _ = message_kind(&headers);
    }

    #[test]
    fn base64_is_decoded_in_pieces(bytes: Vec<u8>, piece in 1_usize..700) {
        let text = encode(&bytes);
        let mut decoder = Decoder::new();
        let mut decoded = Vec::new();
        for piece in text.as_bytes().chunks(piece) {
            decoder.push(piece, |bytes| decoded.extend_from_slice(bytes));
        }
        prop_assert_eq!(decoded, bytes);
    }

    #[test]
    fn damaged_streams_do_not_panic(at: usize, bit in 0_u8..8, piece in 1_usize..200) {
        let mut body = converse();
        let at = at % body.len();
        body[at] ^= 1 << bit;
        let _ = read(&body, piece).usage();
    }
}
