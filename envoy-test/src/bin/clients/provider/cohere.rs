//! Cohere's chat and embeddings, version 2.

use bytes::Bytes;
use serde_json::{Value, json};

use super::reply::{ARGUMENTS, Call, PIECES, Reply, TOOL, Tokens, VECTOR, event};

/// Replies to `/v2/chat`.
pub(super) fn chat(call: &Call<'_>) -> Reply {
    let tokens = call.tokens;
    let finish_reason = if call.has_tools {
        "TOOL_CALL"
    } else {
        "COMPLETE"
    };
    if !call.streams() {
        let mut message = json!({ "role": "assistant" });
        if call.has_tools {
            message["tool_plan"] = json!("I ask for the weather.");
            message["tool_calls"] = json!([tool_call(&ARGUMENTS.concat())]);
        } else {
            message["content"] = json!([{ "type": "text", "text": PIECES.concat() }]);
        }
        let reply = json!({
            "id": "chat-1", "finish_reason": finish_reason, "message": message, "usage": usage(tokens),
        });
        return Reply::document(reply, tokens);
    }
    let mut events = vec![json!({
        "type": "message-start", "id": "chat-1",
        "delta": { "message": { "role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": [] } },
    })];
    let step = |kind: &str, message: Value| json!({ "type": kind, "index": 0, "delta": { "message": message } });
    if call.has_tools {
        events.push(step(
            "tool-plan-delta",
            json!({ "tool_plan": "I ask for the weather." }),
        ));
        events.push(step(
            "tool-call-start",
            json!({ "tool_calls": tool_call("") }),
        ));
        events.extend(ARGUMENTS.map(|piece| {
            step(
                "tool-call-delta",
                json!({ "tool_calls": { "function": { "arguments": piece } } }),
            )
        }));
        events.push(json!({ "type": "tool-call-end", "index": 0 }));
    } else {
        events.push(step(
            "content-start",
            json!({ "content": { "type": "text", "text": "" } }),
        ));
        events.extend(
            PIECES.map(|piece| step("content-delta", json!({ "content": { "text": piece } }))),
        );
        events.push(json!({ "type": "content-end", "index": 0 }));
    }
    events.push(json!({
        "type": "message-end", "delta": { "finish_reason": finish_reason, "usage": usage(tokens) },
    }));
    let events: Vec<Bytes> = events.iter().map(event).collect();
    Reply::events(events, tokens)
}

/// Replies to `/v2/embed`.
pub(super) fn embed(call: &Call<'_>) -> Reply {
    let tokens = call.tokens.of_input();
    let reply = json!({
        "id": "embed-1",
        "response_type": "embeddings_by_type",
        "embeddings": { "float": [VECTOR] },
        "texts": call.body["texts"],
        "meta": {
            "api_version": { "version": "2" },
            "billed_units": { "input_tokens": tokens.input },
        },
    });
    Reply::document(reply, tokens)
}

/// Returns a report in which less is billed than is used.
fn usage(tokens: Tokens) -> Value {
    json!({
        "billed_units": { "input_tokens": tokens.input - 10, "output_tokens": tokens.output },
        "tokens": { "input_tokens": tokens.input, "output_tokens": tokens.output },
    })
}

fn tool_call(arguments: &str) -> Value {
    json!({ "id": "call_1", "type": "function", "function": { "name": TOOL, "arguments": arguments } })
}
