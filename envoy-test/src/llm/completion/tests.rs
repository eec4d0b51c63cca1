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

fn question(stream: bool) -> Value {
    json!({
        "model": MODEL,
        "messages": [{ "role": "user", "content": "What is Kubernetes?" }],
        "max_tokens": 100,
        "stream": stream,
        "stream_options": { "include_usage": stream },
    })
}

#[test]
fn the_question_of_the_tutorial_costs_what_the_tutorial_says() {
    let answer: Value = serde_json::from_str(&body(&question(false), &instructions())).unwrap();
    assert_eq!(
        answer["usage"],
        json!({ "prompt_tokens": 5, "completion_tokens": 95, "total_tokens": 100 })
    );
}

#[test]
fn a_stream_ends_with_usage_and_done() {
    let stream = body(&question(true), &instructions());
    let events: Vec<_> = stream.split_terminator("\n\n").collect();
    assert_eq!(events.len(), 1 + 95 + 1 + 1 + 1);
    assert_eq!(events.last(), Some(&"data: [DONE]"));
    let usage: Value =
        serde_json::from_str(events[events.len() - 2].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["total_tokens"], 100);
}

#[test]
fn a_stream_tells_no_usage_that_nobody_asked_for() {
    let mut request = question(true);
    request["stream_options"] = Value::Null;
    assert!(!body(&request, &instructions()).contains("usage"));
}

#[test]
fn a_body_can_be_made_large() {
    let instructions = Instructions {
        body_bytes: 1_000_000,
        ..instructions()
    };
    assert!(body(&question(false), &instructions).len() > 1_000_000);
    assert!(body(&question(true), &instructions).len() > 1_000_000);
}
