//! The runtime of Bedrock: Converse and `InvokeModel`, whose requests are signed.

use axum::http::{StatusCode, request::Parts};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    anthropic, event_stream,
    reply::{ARGUMENTS, Call, PIECES, Reply, TOOL, Tokens, arguments},
    signature,
};

/// The content type of streams.
const EVENT_STREAM: &str = "application/vnd.amazon.eventstream";

/// Returns an error if this is a request to Bedrock that is not signed, or that was changed after it was signed.
pub(super) fn verify(head: &Parts, body: &[u8]) -> Option<Reply> {
    if !head.uri.path().starts_with("/model/") {
        return None;
    }
    let reason = signature::verify(head, body).err()?;
    let error = Reply::document(json!({ "message": reason }), Tokens::default());
    let error = error.header("x-amzn-errortype", "InvalidSignatureException");
    Some(error.status(StatusCode::FORBIDDEN))
}

/// Replies to `/model/MODEL/OPERATION`.
pub(super) fn operation(call: &Call<'_>) -> Reply {
    let (_, operation) = call.path.rsplit_once('/').unwrap_or_default();
    let tokens = call.tokens.with_cache();
    match operation {
        "converse" => {
            let content = if call.has_tools {
                json!({ "toolUse": { "toolUseId": "tool_1", "name": TOOL, "input": arguments() } })
            } else {
                json!({ "text": PIECES.concat() })
            };
            let reply = json!({
                "output": { "message": { "role": "assistant", "content": [content] } },
                "stopReason": stop_reason(call),
                "usage": usage(tokens),
                "metrics": { "latencyMs": 7 },
            });
            Reply::document(reply, tokens)
        }
        "converse-stream" => Reply::stream(EVENT_STREAM, converse_stream(call, tokens), tokens),
        "invoke" => Reply::document(anthropic::message(call), tokens)
            .header(
                "x-amzn-bedrock-input-token-count",
                &tokens.input.to_string(),
            )
            .header(
                "x-amzn-bedrock-output-token-count",
                &tokens.output.to_string(),
            ),
        "invoke-with-response-stream" => Reply::stream(EVENT_STREAM, invoke_stream(call), tokens)
            .header("x-amzn-bedrock-content-type", "application/json"),
        _ => Reply::error(StatusCode::NOT_FOUND, "the mock has no such operation"),
    }
}

fn converse_stream(call: &Call<'_>, tokens: Tokens) -> Vec<Bytes> {
    let mut events = vec![("messageStart", json!({ "role": "assistant" }))];
    let delta = |delta: Value| {
        let event = json!({ "contentBlockIndex": 0, "delta": delta });
        ("contentBlockDelta", event)
    };
    if call.has_tools {
        let start = json!({ "toolUse": { "toolUseId": "tool_1", "name": TOOL } });
        let start = json!({ "contentBlockIndex": 0, "start": start });
        events.push(("contentBlockStart", start));
        events.extend(ARGUMENTS.map(|piece| delta(json!({ "toolUse": { "input": piece } }))));
    } else {
        events.extend(PIECES.map(|piece| delta(json!({ "text": piece }))));
    }
    events.push(("contentBlockStop", json!({ "contentBlockIndex": 0 })));
    events.push(("messageStop", json!({ "stopReason": stop_reason(call) })));
    let metadata = json!({ "usage": usage(tokens), "metrics": { "latencyMs": 7 } });
    events.push(("metadata", metadata));
    events
        .iter()
        .map(|(kind, payload)| event_stream::event(kind, payload))
        .collect()
}

fn invoke_stream(call: &Call<'_>) -> Vec<Bytes> {
    let mut events = anthropic::events(call);
    if let Some(last) = events.last_mut() {
        last["amazon-bedrock-invocationMetrics"] = json!({
            "inputTokenCount": call.tokens.input,
            "outputTokenCount": call.tokens.output,
            "invocationLatency": 7,
            "firstByteLatency": 5,
        });
    }
    events
        .iter()
        .map(|event| {
            let bytes = BASE64_STANDARD.encode(event.to_string());
            event_stream::event("chunk", &json!({ "bytes": bytes, "p": "abcdef" }))
        })
        .collect()
}

fn usage(tokens: Tokens) -> Value {
    json!({
        "inputTokens": tokens.input - tokens.cached,
        "outputTokens": tokens.output,
        "totalTokens": tokens.total(),
        "cacheReadInputTokens": tokens.cached,
        "cacheWriteInputTokens": 0,
    })
}

fn stop_reason(call: &Call<'_>) -> &'static str {
    if call.has_tools {
        "tool_use"
    } else {
        "end_turn"
    }
}
