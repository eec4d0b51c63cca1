//! `OpenAI`'s chat completions, text completions and embeddings, and those of Mistral, which differ in streams: the last
//! chunk always has the usage, and `stream_options` are rejected.

use axum::http::StatusCode;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use super::reply::{ARGUMENTS, CREATED, Call, PIECES, Reply, TOOL, Tokens, VECTOR, data};

/// Replies to `/v1/chat/completions`.
pub(super) fn chat(call: &Call<'_>) -> Reply {
    let is_mistral = is_mistral(call);
    let tokens = if is_mistral {
        call.tokens
    } else {
        call.tokens.with_parts()
    };
    if let Some(rejection) = reject_options(call) {
        return rejection;
    }
    if !call.streams() {
        let mut message = json!({ "role": "assistant", "content": PIECES.concat() });
        if !is_mistral {
            message["refusal"] = Value::Null;
            message["annotations"] = json!([]);
        }
        if call.has_tools {
            message["content"] = Value::Null;
            message["tool_calls"] = json!([tool_call(&ARGUMENTS.concat())]);
        }
        let choice =
            json!({ "index": 0, "message": message, "finish_reason": finish_reason(call) });
        let mut completion = envelope(call, "chat.completion", &[choice]);
        completion["usage"] = usage(tokens);
        return Reply::document(completion, tokens);
    }
    let mut deltas = vec![json!({ "role": "assistant", "content": "" })];
    if call.has_tools {
        let mut first = tool_call("");
        first["index"] = json!(0);
        if is_mistral {
            // It sends the whole call at once.
            first["function"]["arguments"] = json!(ARGUMENTS.concat());
            deltas.push(json!({ "content": "", "tool_calls": [first] }));
        } else {
            deltas.push(json!({ "tool_calls": [first] }));
            deltas.extend(ARGUMENTS.map(|piece| {
                json!({ "tool_calls": [{ "index": 0, "function": { "arguments": piece } }] })
            }));
        }
    } else {
        deltas.extend(PIECES.map(|piece| json!({ "content": piece })));
    }
    let mut choices: Vec<_> = deltas
        .into_iter()
        .map(|delta| json!({ "index": 0, "delta": delta, "finish_reason": null }))
        .collect();
    let delta = if is_mistral {
        json!({ "content": "" })
    } else {
        json!({})
    };
    choices.push(json!({ "index": 0, "delta": delta, "finish_reason": finish_reason(call) }));
    chunks(call, "chat.completion.chunk", choices, tokens)
}

/// Replies to `/v1/completions`, and to Mistral's `/v1/fim/completions`.
pub(super) fn completions(call: &Call<'_>) -> Reply {
    if is_mistral(call) {
        return chat(call);
    }
    let choice = |text: &str, finish_reason: Value| json!({ "index": 0, "text": text, "logprobs": null, "finish_reason": finish_reason });
    if !call.streams() {
        let choice = choice(&PIECES.concat(), json!("stop"));
        let mut completion = envelope(call, "text_completion", &[choice]);
        completion["usage"] = usage(call.tokens);
        return Reply::document(completion, call.tokens);
    }
    let mut choices: Vec<_> = PIECES.map(|piece| choice(piece, Value::Null)).into();
    choices.push(choice("", json!("stop")));
    chunks(call, "text_completion", choices, call.tokens)
}

/// Replies to `/v1/embeddings`.
pub(super) fn embeddings(call: &Call<'_>) -> Reply {
    let embedding = if call.body["encoding_format"] == "base64" {
        let bytes: Vec<u8> = VECTOR
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        json!(BASE64_STANDARD.encode(bytes))
    } else {
        json!(VECTOR)
    };
    let tokens = call.tokens.of_input();
    let list = json!({
        "id": "embd-1",
        "object": "list",
        "model": call.model(),
        "data": [{ "object": "embedding", "index": 0, "embedding": embedding }],
        "usage": {
            "prompt_tokens": tokens.input,
            "completion_tokens": 0,
            "total_tokens": tokens.input,
        },
    });
    Reply::document(list, tokens)
}

/// Returns the stream of these choices.
fn chunks(call: &Call<'_>, object: &str, choices: Vec<Value>, tokens: Tokens) -> Reply {
    let mut chunks: Vec<Value> = choices
        .into_iter()
        .map(|choice| envelope(call, object, &[choice]))
        .collect();
    if is_mistral(call) {
        if let Some(last) = chunks.last_mut() {
            last["usage"] = usage(tokens);
        }
    } else if call.body["stream_options"]["include_usage"] == true {
        for chunk in &mut chunks {
            chunk["usage"] = Value::Null;
        }
        let mut report = envelope(call, object, &[]);
        report["usage"] = usage(tokens);
        chunks.push(report);
    }
    let mut events: Vec<Bytes> = chunks.iter().map(data).collect();
    events.push("data: [DONE]\n\n".into());
    Reply::events(events, tokens)
}

fn envelope(call: &Call<'_>, object: &str, choices: &[Value]) -> Value {
    let mut envelope = json!({
        "id": "chatcmpl-1", "object": object, "created": CREATED, "model": call.model(), "choices": choices,
    });
    if !is_mistral(call) {
        envelope["service_tier"] = json!("default");
        envelope["system_fingerprint"] = json!("fp_1");
    }
    envelope
}

fn usage(tokens: Tokens) -> Value {
    json!({
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.total(),
        "prompt_tokens_details": { "cached_tokens": tokens.cached },
        "completion_tokens_details": { "reasoning_tokens": tokens.reasoning },
    })
}

fn tool_call(arguments: &str) -> Value {
    // Mistral's identifiers have nine characters.
    json!({ "id": "calltool1", "type": "function", "function": { "name": TOOL, "arguments": arguments } })
}

fn finish_reason(call: &Call<'_>) -> &'static str {
    if call.has_tools { "tool_calls" } else { "stop" }
}

fn is_mistral(call: &Call<'_>) -> bool {
    ["mistral", "codestral"]
        .iter()
        .any(|family| call.model().starts_with(family))
}

/// Returns Mistral's error about `stream_options`.
fn reject_options(call: &Call<'_>) -> Option<Reply> {
    if !is_mistral(call) || call.body.get("stream_options").is_none() {
        return None;
    }
    let detail = json!({
        "type": "extra_forbidden",
        "loc": ["body", "stream_options", "include_usage"],
        "msg": "Extra inputs are not permitted",
        "input": true,
    });
    let error = json!({
        "object": "error",
        "message": { "detail": [detail] },
        "type": "invalid_request_error",
        "param": null,
        "code": null,
    });
    let reply = Reply::document(error, Tokens::default());
    Some(reply.status(StatusCode::UNPROCESSABLE_ENTITY))
}
