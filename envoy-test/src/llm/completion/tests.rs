use super::*;

fn body(request: &Value, instructions: &Instructions) -> String {
    let parts = Completion::of(Api::Chat, request, instructions).into_parts();
    parts
        .map(|part| String::from_utf8(part.to_vec()).unwrap())
        .collect()
}

fn instructions() -> Instructions {
    Instructions {
        done: true,
        line_ending: "\n",
        ..Instructions::default()
    }
}

fn request(stream: bool) -> Value {
    json!({
        "model": MODEL,
        "messages": [{ "role": "user", "content": "What is Kubernetes?" }],
        "max_tokens": 100,
        "stream": stream,
        "stream_options": { "include_usage": stream },
    })
}

#[test]
fn tutorial_question_costs_100_tokens() {
    let answer: Value = serde_json::from_str(&body(&request(false), &instructions())).unwrap();
    assert_eq!(
        answer["usage"],
        json!({ "prompt_tokens": 5, "completion_tokens": 95, "total_tokens": 100 })
    );
}

#[test]
fn stream_ends_with_usage_and_done() {
    let stream = body(&request(true), &instructions());
    let events: Vec<_> = stream.split_terminator("\n\n").collect();
    assert_eq!(events.len(), 1 + 95 + 1 + 1 + 1);
    assert_eq!(events.last(), Some(&"data: [DONE]"));
    let usage: Value =
        serde_json::from_str(events[events.len() - 2].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["total_tokens"], 100);
}

#[test]
fn stream_reports_usage_only_on_request() {
    let mut request = request(true);
    request["stream_options"] = Value::Null;
    assert!(!body(&request, &instructions()).contains("usage"));
}

#[test]
fn body_has_minimum_length() {
    let instructions = Instructions {
        body_bytes: 1_000_000,
        ..instructions()
    };
    assert!(body(&request(false), &instructions).len() > 1_000_000);
    assert!(body(&request(true), &instructions).len() > 1_000_000);
}
