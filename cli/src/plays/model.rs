//! The model that answers requests: completions in the format of the API of chat completions.

use serde_json::{Value, json};

use crate::replay::{Outcome, Response};

/// The model of responses to requests that name none.
const MODEL: &str = "model";

/// The tokens of a completion unless the request bounds them.
const OUTPUT_TOKENS: u64 = 20;

/// The most words of a completion, each an event of a stream.
const MAX_EVENTS: u64 = 10_000;

/// Returns the response to a request as it is passed on, with the tokens of the prompt and of the completion.
pub(super) fn respond(request: &Outcome, tokens: Option<[u64; 2]>) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&request.request_body) else {
        return Response::guessed(json!({ "object": "list", "data": [] }).to_string().into());
    };
    let bounds = ["max_completion_tokens", "max_tokens"];
    let bound = bounds.iter().find_map(|field| body[*field].as_u64());
    let by_bound = bound.map(|bound| bound.saturating_sub(5).max(1));
    let [input, output] =
        tokens.unwrap_or_else(|| [input_tokens(&body), by_bound.unwrap_or(OUTPUT_TOKENS)]);
    let model = body["model"].as_str().unwrap_or(MODEL);
    let usage = json!({
        "prompt_tokens": input, "completion_tokens": output, "total_tokens": input.saturating_add(output),
    });
    let events = usize::try_from(output.min(MAX_EVENTS)).unwrap_or_default();
    if body["stream"] != true {
        let content = "word ".repeat(events);
        let completion = json!({
            "object": "chat.completion", "model": model, "usage": usage,
            "choices": [{ "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": content } }],
        });
        return Response::guessed(completion.to_string().into());
    }
    let event = |fields: Value| {
        let mut event = json!({ "object": "chat.completion.chunk", "model": model });
        if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), fields) {
            event.extend(fields);
        }
        format!("data: {event}\n\n")
    };
    let chunk = event(json!({ "choices": [{ "index": 0, "delta": { "content": "word " } }] }));
    let mut events = chunk.repeat(events);
    if body["stream_options"]["include_usage"] == true {
        events.push_str(&event(json!({ "choices": [], "usage": usage })));
    }
    events.push_str("data: [DONE]\n\n");
    Response::guessed(events.into())
}

/// Returns the tokens of a prompt: its words, and two more.
fn input_tokens(body: &Value) -> u64 {
    let words = |text: &Value| {
        text.as_str()
            .map_or(0, |text| text.split_whitespace().count())
    };
    let messages = body["messages"].as_array().into_iter().flatten();
    let words = messages
        .map(|message| words(&message["content"]))
        .sum::<usize>()
        + words(&body["prompt"]);
    words as u64 + 2
}
