//! The identifier and status of responses that the provider stores.

use super::partial::events;
use super::{JSON, SSE, head, read};
use crate::{BackgroundStatus, Meter};

#[test]
fn stored_response_has_identifier_and_status() {
    use BackgroundStatus::{Cancelled, Final, Pending};
    for (body, id, background) in [
        (
            r#"{"id":"resp_1","object":"response","status":"queued","background":true}"#,
            Some("resp_1"),
            Some(Pending),
        ),
        (
            r#"{"background":true,"status":"in_progress","object":"response","id":"resp_1"}"#,
            Some("resp_1"),
            Some(Pending),
        ),
        (
            r#"{"id":"resp_1","object":"response","status":"completed","background":true}"#,
            Some("resp_1"),
            Some(Final),
        ),
        (
            r#"{"id":"resp_1","object":"response","status":"cancelled","background":true}"#,
            Some("resp_1"),
            Some(Cancelled),
        ),
        (
            r#"{"id":"resp_1","object":"response","status":"completed","background":false}"#,
            Some("resp_1"),
            None,
        ),
        (
            r#"{"id":"resp_1","object":"response","usage":"x","meta":"y","status":"completed"}"#,
            Some("resp_1"),
            None,
        ),
        (
            r#"{"id":"resp_1","object":"response","status":null,"background":true}"#,
            Some("resp_1"),
            None,
        ),
        (
            r#"{"id":"resp_1","object":"response","id":"resp_2"}"#,
            Some("resp_1"),
            None,
        ),
        (
            r#"{"type":"response.created","response":{"id":"resp_1","status":"queued","background":true}}"#,
            Some("resp_1"),
            Some(Pending),
        ),
        (
            r#"{"id":"v1_1","object":"interaction","status":"in_progress","background":true}"#,
            Some("v1_1"),
            Some(Pending),
        ),
        (
            r#"{"id":"chatcmpl-1","object":"chat.completion","status":"queued","background":true}"#,
            None,
            None,
        ),
        (
            r#"{"id":"batch_1","object":"batch","status":"completed"}"#,
            None,
            None,
        ),
        (r#"{"id":"","object":"response"}"#, None, None),
    ] {
        let whole = read(JSON, body.as_bytes());
        let mut in_pieces = Meter::new(&head(JSON));
        for byte in body.bytes() {
            in_pieces.push(&[byte]);
        }
        for meter in [whole, in_pieces] {
            assert_eq!(
                (meter.response_id(), meter.background()),
                (id, background),
                "{body}"
            );
        }
    }
    let stream = events(&[
        r#"{"type":"response.created","response":{"id":"resp_1","status":"in_progress","background":true}}"#,
        r#"{"type":"response.output_item.added","item":{"id":"msg_1","status":"in_progress"}}"#,
        r#"{"type":"response.completed","response":{"id":"resp_1","status":"completed","background":true}}"#,
    ]);
    let meter = read(SSE, stream.as_bytes());
    assert_eq!(
        (meter.response_id(), meter.background()),
        (Some("resp_1"), Some(Final))
    );
}

#[test]
fn long_identifier_is_ignored() {
    for (length, is_kept) in [(512, true), (513, false), (1 << 20, false)] {
        let body = format!(r#"{{"id":"{}","object":"response"}}"#, "x".repeat(length));
        for pieces in [body.len(), 7] {
            let mut meter = Meter::new(&head(JSON));
            for piece in body.as_bytes().chunks(pieces) {
                meter.push(piece);
            }
            assert_eq!(meter.response_id().is_some(), is_kept, "{length}");
        }
    }
}

#[test]
fn status_that_is_null_replaces_none() {
    let stream = events(&[
        r#"{"type":"response.created","response":{"id":"resp_1","status":"queued","background":true}}"#,
        r#"{"type":"response.in_progress","response":{"id":"resp_1","status":null,"background":true}}"#,
    ]);
    let meter = read(SSE, stream.as_bytes());
    assert_eq!(meter.background(), Some(BackgroundStatus::Pending));
}

#[test]
fn documents_after_chunks_are_no_stored_responses() {
    let stream = events(&[
        r#"{"choices":[{"delta":{"content":"a"}}]}"#,
        r#"{"id":"resp_1","object":"response"}"#,
    ]);
    assert_eq!(read(SSE, stream.as_bytes()).response_id(), None);
}
