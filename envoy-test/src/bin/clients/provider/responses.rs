//! `OpenAI`'s Responses API.

use std::slice;

use bytes::Bytes;
use serde_json::{Value, json};

use super::reply::{ARGUMENTS, CREATED, Call, PIECES, Reply, TOOL, event};

/// Replies to `/v1/responses`.
pub(super) fn responses(call: &Call<'_>) -> Reply {
    let tokens = call.tokens.with_parts();
    let finished = item(call, "completed");
    let mut completed = response(call, "completed", slice::from_ref(&finished));
    completed["usage"] = json!({
        "input_tokens": tokens.input,
        "input_tokens_details": { "cached_tokens": tokens.cached },
        "output_tokens": tokens.output,
        "output_tokens_details": { "reasoning_tokens": tokens.reasoning },
        "total_tokens": tokens.total(),
    });
    if !call.streams() {
        return Reply::document(completed, tokens);
    }
    let started = response(call, "in_progress", &[]);
    let mut events = vec![
        json!({ "type": "response.created", "response": started }),
        json!({ "type": "response.in_progress", "response": started }),
        json!({ "type": "response.output_item.added", "output_index": 0, "item": item(call, "in_progress") }),
    ];
    if call.has_tools {
        let kind = "response.function_call_arguments";
        events.extend(ARGUMENTS.map(|piece| {
            json!({ "type": format!("{kind}.delta"), "item_id": "fc_1", "output_index": 0, "delta": piece })
        }));
        events.push(json!({
            "type": format!("{kind}.done"), "item_id": "fc_1", "output_index": 0, "name": TOOL,
            "arguments": ARGUMENTS.concat(),
        }));
    } else {
        let part = |kind: &str, members: &Value| {
            let mut event = json!({
                "type": kind, "item_id": "msg_1", "output_index": 0, "content_index": 0,
            });
            for (name, value) in members.as_object().into_iter().flatten() {
                event[name] = value.clone();
            }
            event
        };
        let text = PIECES.concat();
        events.push(part(
            "response.content_part.added",
            &json!({ "part": content("") }),
        ));
        events.extend(PIECES.map(|piece| {
            part(
                "response.output_text.delta",
                &json!({ "delta": piece, "logprobs": [] }),
            )
        }));
        events.push(part(
            "response.output_text.done",
            &json!({ "text": text, "logprobs": [] }),
        ));
        events.push(part(
            "response.content_part.done",
            &json!({ "part": content(&text) }),
        ));
    }
    events
        .push(json!({ "type": "response.output_item.done", "output_index": 0, "item": finished }));
    events.push(json!({ "type": "response.completed", "response": completed }));
    let events: Vec<Bytes> = events
        .into_iter()
        .enumerate()
        .map(|(number, mut data)| {
            data["sequence_number"] = json!(number);
            event(&data)
        })
        .collect();
    Reply::events(events, tokens)
}

fn response(call: &Call<'_>, status: &str, output: &[Value]) -> Value {
    json!({
        "id": "resp_1",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "max_output_tokens": null,
        "model": call.model(),
        "output": output,
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "reasoning": { "effort": null, "summary": null },
        "store": true,
        "temperature": 1.0,
        "text": { "format": { "type": "text" } },
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": null,
        "user": null,
        "metadata": {},
    })
}

/// Returns the item that is generated: a message, or the call of the tool.
fn item(call: &Call<'_>, status: &str) -> Value {
    let is_finished = status == "completed";
    if call.has_tools {
        let arguments = if is_finished {
            ARGUMENTS.concat()
        } else {
            String::new()
        };
        return json!({
            "type": "function_call", "id": "fc_1", "call_id": "call_1", "status": status, "name": TOOL,
            "arguments": arguments,
        });
    }
    let content = if is_finished {
        vec![content(&PIECES.concat())]
    } else {
        Vec::new()
    };
    json!({ "type": "message", "id": "msg_1", "status": status, "role": "assistant", "content": content })
}

fn content(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}
