//! Anthropic's messages, also as models of Bedrock have them.

use serde_json::{Value, json};

use super::reply::{ARGUMENTS, Call, PIECES, Reply, TOOL, Tokens, arguments, event};

/// The tokens that are written to the cache, which the input of [`Tokens`] includes.
const WRITTEN: u64 = 2;

/// Replies to `/v1/messages`.
pub(super) fn messages(call: &Call<'_>) -> Reply {
    let tokens = tokens(call);
    if call.streams() {
        let events = events(call).iter().map(event).collect();
        Reply::events(events, tokens)
    } else {
        Reply::document(message(call), tokens)
    }
}

/// Replies to `/v1/messages/count_tokens`.
pub(super) fn count(call: &Call<'_>) -> Reply {
    let count = json!({ "input_tokens": call.tokens.input });
    Reply::document(count, Tokens::default())
}

/// Returns the usage of a message.
pub(super) fn tokens(call: &Call<'_>) -> Tokens {
    call.tokens.with_cache()
}

/// Returns the whole message.
pub(super) fn message(call: &Call<'_>) -> Value {
    let content = if call.has_tools {
        json!({ "type": "tool_use", "id": "toolu_1", "name": TOOL, "input": arguments() })
    } else {
        json!({ "type": "text", "text": PIECES.concat() })
    };
    let mut message = envelope(call);
    message["content"] = json!([content]);
    message["stop_reason"] = json!(stop_reason(call));
    message["usage"]["output_tokens"] = json!(call.tokens.output);
    message
}

/// Returns the data of the events of a stream.
pub(super) fn events(call: &Call<'_>) -> Vec<Value> {
    let (block, deltas): (_, Vec<_>) = if call.has_tools {
        let delta = |piece: &&str| json!({ "type": "input_json_delta", "partial_json": piece });
        (
            json!({ "type": "tool_use", "id": "toolu_1", "name": TOOL, "input": {} }),
            ARGUMENTS.iter().map(delta).collect(),
        )
    } else {
        let delta = |piece: &&str| json!({ "type": "text_delta", "text": piece });
        (
            json!({ "type": "text", "text": "" }),
            PIECES.iter().map(delta).collect(),
        )
    };
    let mut events = vec![
        json!({ "type": "message_start", "message": envelope(call) }),
        json!({ "type": "content_block_start", "index": 0, "content_block": block }),
        json!({ "type": "ping" }),
    ];
    let delta = |delta: Value| json!({ "type": "content_block_delta", "index": 0, "delta": delta });
    events.extend(deltas.into_iter().map(delta));
    events.push(json!({ "type": "content_block_stop", "index": 0 }));
    events.push(json!({
        "type": "message_delta",
        "delta": { "stop_reason": stop_reason(call), "stop_sequence": null },
        "usage": { "output_tokens": call.tokens.output },
    }));
    events.push(json!({ "type": "message_stop" }));
    events
}

/// Returns the message before anything is generated.
fn envelope(call: &Call<'_>) -> Value {
    let tokens = tokens(call);
    json!({
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": call.model(),
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": {
            "input_tokens": tokens.input - tokens.cached - WRITTEN,
            "cache_creation_input_tokens": WRITTEN,
            "cache_read_input_tokens": tokens.cached,
            "output_tokens": 1,
            "service_tier": "standard",
        },
    })
}

fn stop_reason(call: &Call<'_>) -> &'static str {
    if call.has_tools {
        "tool_use"
    } else {
        "end_turn"
    }
}
