//! Responses of which a part was not read.

use super::{CostContext, metered, reported, settle_end};
use crate::settle::RequestSize;
use crate::testing::{Filter, output, per_user};
use filter_config::{OnMissing, Usd};
use serde_json::json;
use usage_meter::{DecodeError, Estimator, Meter, RequestPath, ResponseHead, Usage};

/// Returns frames of zstd: a text, and 12 MiB of spaces in a few hundred bytes.
fn bomb(text: &str) -> Vec<u8> {
    let mut body = b"\x28\xb5\x2f\xfd\x00\x60".to_vec();
    let length = u32::try_from(text.len()).unwrap() << 3;
    body.extend_from_slice(&length.to_le_bytes()[..3]);
    body.extend_from_slice(text.as_bytes());
    for _ in 0..100 {
        body.extend_from_slice(b"\x02\x00\x10 ");
    }
    body
}

fn unread(path: &[u8], text: &str) -> Meter {
    let mut meter = Meter::new(&ResponseHead {
        status: 200,
        content_type: Some(b"text/event-stream"),
        content_encoding: Some(b"zstd"),
        path: RequestPath::of(path),
        ..ResponseHead::default()
    });
    meter.push(&bomb(text));
    meter.finish();
    assert_eq!(meter.decoding_error(), Some(DecodeError::TooLarge));
    meter
}

fn charged(on_missing: OnMissing, meter: &Meter) -> Option<Usage> {
    let size = RequestSize {
        expected: output(400),
        is_complete: true,
        ..RequestSize::default()
    };
    let metered = metered(&Estimator::default(), on_missing, meter, &size)?;
    assert!(metered.is_estimated);
    Some(metered.usage)
}

#[test]
fn unread_response_costs_what_was_expected() {
    for on_missing in [OnMissing::Estimate, OnMissing::Ignore] {
        for path in [&b"/v1/chat/completions"[..], b"/own"] {
            let usage = charged(on_missing, &unread(path, "data: {}\n\n"));
            assert!(usage.unwrap().output_tokens >= 400);
        }
    }
}

#[test]
fn early_report_of_unread_response_is_a_minimum() {
    let chunk = r#"{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":600,"completion_tokens":1}}"#;
    let meter = unread(b"/v1/chat/completions", &format!("data: {chunk}\n\n"));
    assert!(meter.usage().is_some());
    let usage = charged(OnMissing::Estimate, &meter).unwrap();
    assert_eq!(usage.input_tokens, 600);
    assert!(usage.output_tokens >= 400);
}

#[test]
fn unread_response_costs_its_reservation() {
    for (is_read, expected) in [(true, 20), (false, 45)] {
        let filter = Filter::new(&json!({ "free": per_user(50) }), &json!({}));
        let mut admission = filter.admit("alice", 45);
        let mut context = CostContext::new(Some(reported(20)), Usd(0), None, b"").read(is_read);
        settle_end(&filter, &mut admission, &mut context);
        let standing = &admission.charges[0].counter.standing;
        assert_eq!((standing.used, standing.reserved), (expected, 0));
    }
}
