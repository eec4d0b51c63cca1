//! Ollama's chat, completions and embeddings. It streams unless the request says otherwise.

use bytes::Bytes;
use serde_json::{Value, json};

use super::reply::{Call, PIECES, Reply, TOOL, VECTOR, arguments};

/// Replies to `/api/chat` and `/api/generate`.
pub(super) fn generate(call: &Call<'_>) -> Reply {
    let line = |text: &str, is_last: bool| {
        let mut line = json!({
            "model": call.model(), "created_at": "2026-01-01T00:00:00Z", "done": is_last,
        });
        if call.path.ends_with("/generate") {
            line["response"] = json!(text);
        } else {
            line["message"] = json!({ "role": "assistant", "content": text });
        }
        if is_last {
            line["done_reason"] = json!("stop");
            line["total_duration"] = json!(7_000_000);
            line["load_duration"] = json!(1_000_000);
            line["prompt_eval_count"] = json!(call.tokens.input);
            line["prompt_eval_duration"] = json!(2_000_000);
            line["eval_count"] = json!(call.tokens.output);
            line["eval_duration"] = json!(4_000_000);
        }
        line
    };
    let tool_calls = json!([{ "function": { "name": TOOL, "arguments": arguments() } }]);
    if call.body["stream"] == false {
        let text = if call.has_tools {
            String::new()
        } else {
            PIECES.concat()
        };
        let mut whole = line(&text, true);
        if call.has_tools {
            whole["message"]["tool_calls"] = tool_calls;
        }
        return Reply::document(whole, call.tokens);
    }
    let mut lines: Vec<Value> = if call.has_tools {
        let mut first = line("", false);
        first["message"]["tool_calls"] = tool_calls;
        vec![first]
    } else {
        PIECES.iter().map(|piece| line(piece, false)).collect()
    };
    lines.push(line("", true));
    let parts: Vec<Bytes> = lines
        .iter()
        .map(|line| format!("{line}\n").into())
        .collect();
    Reply::stream("application/x-ndjson", parts, call.tokens)
}

/// Replies to `/api/embed`.
pub(super) fn embed(call: &Call<'_>) -> Reply {
    let tokens = call.tokens.of_input();
    let reply = json!({
        "model": call.model(),
        "embeddings": [VECTOR],
        "total_duration": 7_000_000,
        "load_duration": 1_000_000,
        "prompt_eval_count": tokens.input,
    });
    Reply::document(reply, tokens)
}
