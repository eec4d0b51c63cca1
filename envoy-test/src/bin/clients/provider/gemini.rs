//! Gemini's methods of a model.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::reply::{Call, PIECES, Reply, TOOL, Tokens, arguments, data};

/// Replies to `/v1beta/models/MODEL:METHOD`.
pub(super) fn method(call: &Call<'_>) -> Reply {
    let (_, method) = call.path.rsplit_once(':').unwrap_or_default();
    let tokens = call.tokens.with_parts();
    match method {
        "generateContent" => {
            let parts = if call.has_tools {
                tool_call()
            } else {
                text(PIECES.concat())
            };
            Reply::document(response(call, &parts, Some(tokens)), tokens)
        }
        "streamGenerateContent" => {
            let mut parts: Vec<Value> = if call.has_tools {
                vec![tool_call()]
            } else {
                PIECES.map(text).into()
            };
            let last = parts.pop().unwrap_or_default();
            let mut events: Vec<_> = parts
                .iter()
                .map(|parts| data(&response(call, parts, None)))
                .collect();
            events.push(data(&response(call, &last, Some(tokens))));
            Reply::events(events, tokens)
        }
        "countTokens" => {
            let count = json!({ "totalTokens": call.tokens.input });
            Reply::document(count, Tokens::default())
        }
        _ => Reply::error(StatusCode::NOT_FOUND, "the mock has no such method"),
    }
}

/// Returns a response; with the usage, it is the last of a stream.
fn response(call: &Call<'_>, parts: &Value, last: Option<Tokens>) -> Value {
    let mut candidate = json!({ "content": { "role": "model", "parts": [parts] }, "index": 0 });
    let tokens = last.unwrap_or(Tokens {
        output: 1,
        ..call.tokens
    });
    let mut usage = json!({
        "promptTokenCount": tokens.input,
        "candidatesTokenCount": tokens.output - tokens.reasoning,
        "totalTokenCount": tokens.total(),
    });
    if last.is_some() {
        candidate["finishReason"] = json!("STOP");
        usage["cachedContentTokenCount"] = json!(tokens.cached);
        usage["thoughtsTokenCount"] = json!(tokens.reasoning);
    }
    let (before, _) = call.path.rsplit_once(':').unwrap_or_default();
    let (_, model) = before.rsplit_once('/').unwrap_or_default();
    json!({
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": model,
        "responseId": "resp-1",
    })
}

fn text(text: impl AsRef<str>) -> Value {
    json!({ "text": text.as_ref() })
}

fn tool_call() -> Value {
    json!({ "functionCall": { "name": TOOL, "args": arguments() } })
}
