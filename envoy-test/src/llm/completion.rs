//! Completions in the format of OpenAI's APIs.

use std::iter;

use bytes::Bytes;
use serde_json::{Value, json};

use super::instructions::{Instructions, Reporting};

/// The model that the mock serves, that of Kuadrant's tutorial.
pub const MODEL: &str = "meta-llama/Llama-3.1-8B-Instruct";

/// The creation time of everything.
pub(super) const CREATED: u64 = 1_760_000_000;

const ID: &str = "chatcmpl-cafe";
const DEFAULT_OUTPUT_TOKENS: u64 = 20;
const WORDS: [&str; 8] = [
    "Kubernetes ",
    "is ",
    "a ",
    "platform ",
    "for ",
    "running ",
    "containers",
    ". ",
];

/// The API of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Text,
}

/// The completion of one request.
#[derive(Debug)]
pub(super) struct Completion {
    api: Api,
    model: String,
    stream: bool,
    include_usage: bool,
    input_tokens: u64,
    output_tokens: u64,
    instructions: Instructions,
}

/// Returns the most that a request allows: its highest bound, wherever a server may read one, for each choice of each
/// prompt.
fn most_output(request: &Value) -> Option<u64> {
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let other = [&request["extra_body"], &request["options"]];
    let bodies = [request].into_iter().chain(other);
    let bounds = bodies.flat_map(|body| {
        ["max_completion_tokens", "max_tokens", "num_predict"].map(|field| number(&body[field]))
    });
    let choices = ["n", "best_of"]
        .iter()
        .filter_map(|field| number(&request[*field]));
    let prompts = request["prompt"].as_array().map_or(1, Vec::len) as u64;
    let bound = bounds.flatten().max()?;
    Some(bound * choices.max().unwrap_or(1).max(1) * prompts)
}

impl Completion {
    /// Returns the completion of a request with this body.
    pub(super) fn of(api: Api, request: &Value, instructions: &Instructions) -> Self {
        let input_tokens = instructions
            .prompt_tokens
            .unwrap_or_else(|| prompt_tokens(request));
        let bound = ["max_completion_tokens", "max_tokens"]
            .iter()
            .find_map(|field| request[*field].as_u64());
        let output_tokens = most_output(request)
            .filter(|_| instructions.uses_bound)
            .or(instructions.completion_tokens)
            .or_else(|| Some(bound?.saturating_sub(5).max(1)))
            .unwrap_or(DEFAULT_OUTPUT_TOKENS);
        Self {
            api,
            model: request["model"].as_str().unwrap_or(MODEL).to_owned(),
            stream: request["stream"] == true,
            include_usage: request["stream_options"]["include_usage"] == true,
            input_tokens,
            output_tokens,
            instructions: instructions.clone(),
        }
    }

    pub(super) fn input_tokens(&self) -> u64 {
        self.input_tokens
    }

    pub(super) fn output_tokens(&self) -> u64 {
        self.output_tokens
    }

    pub(super) fn content_type(&self) -> &str {
        match &self.instructions.content_type {
            Some(content_type) => content_type,
            None if self.stream => "text/event-stream",
            None => "application/json",
        }
    }

    /// Returns the parts of the body: the whole, or each event of a stream.
    pub(super) fn into_parts(self) -> Box<dyn Iterator<Item = Bytes> + Send> {
        if let Some(body) = self.instructions.body {
            Box::new(iter::once(body.into()))
        } else if self.stream {
            self.into_events()
        } else {
            Box::new(iter::once(self.object().to_string().into()))
        }
    }

    /// Returns the number of events with content.
    fn events(&self) -> u64 {
        self.instructions.events.unwrap_or(self.output_tokens)
    }

    fn usage(&self) -> Value {
        json!({
            "prompt_tokens": self.input_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
        })
    }

    fn object(&self) -> Value {
        let mut text: String = (0..self.events()).map(word).collect();
        if text.len() < self.instructions.body_bytes {
            text.push_str(&"x".repeat(self.instructions.body_bytes - text.len()));
        }
        let (object, mut choice) = match self.api {
            Api::Chat => (
                "chat.completion",
                json!({ "message": { "role": "assistant", "content": text } }),
            ),
            Api::Text => ("text_completion", json!({ "text": text })),
        };
        choice["index"] = json!(0);
        choice["finish_reason"] = json!("stop");
        let mut completion = self.envelope(object, &[choice]);
        if self.instructions.usage != Reporting::Never {
            completion["usage"] = self.usage();
        }
        completion
    }

    fn envelope(&self, object: &str, choices: &[Value]) -> Value {
        json!({
            "id": ID, "object": object, "created": CREATED, "model": self.model, "choices": choices,
        })
    }

    fn into_events(self) -> Box<dyn Iterator<Item = Bytes> + Send> {
        let events = self.events();
        let padding = usize::try_from(events)
            .ok()
            .and_then(|events| self.instructions.body_bytes.checked_div(events))
            .unwrap_or(0);
        let reports = self.include_usage && self.instructions.usage != Reporting::Never;
        let (done, line_ending) = (self.instructions.done, self.instructions.line_ending);
        let opening = (self.api == Api::Chat).then_some(Event::Opening);
        let data = opening
            .into_iter()
            .chain((0..events).map(Event::Content))
            .chain([Event::Finish])
            .chain(reports.then_some(Event::Usage))
            .map(move |event| {
                let comment = if self.instructions.comments {
                    ": keep-alive"
                } else {
                    ""
                };
                (comment, self.chunk(event, padding).to_string())
            })
            .chain(done.then(|| ("", "[DONE]".to_owned())));
        Box::new(data.map(move |(comment, data)| {
            let event = if comment.is_empty() {
                format!("data: {data}{line_ending}{line_ending}")
            } else {
                format!("{comment}{line_ending}{line_ending}data: {data}{line_ending}{line_ending}")
            };
            event.into()
        }))
    }

    fn chunk(&self, event: Event, padding: usize) -> Value {
        let (text, finish_reason) = match event {
            Event::Content(position) => (word(position) + &"x".repeat(padding), Value::Null),
            Event::Finish => (String::new(), json!("stop")),
            Event::Opening | Event::Usage => (String::new(), Value::Null),
        };
        let mut choice = match (self.api, event) {
            (Api::Text, _) => json!({ "text": text }),
            (Api::Chat, Event::Opening) => {
                json!({ "delta": { "role": "assistant", "content": "" } })
            }
            (Api::Chat, Event::Content(_)) => json!({ "delta": { "content": text } }),
            (Api::Chat, _) => json!({ "delta": {} }),
        };
        choice["index"] = json!(0);
        choice["finish_reason"] = finish_reason;
        let object = match self.api {
            Api::Chat => "chat.completion.chunk",
            Api::Text => "text_completion",
        };
        if event == Event::Usage {
            let mut chunk = self.envelope(object, &[]);
            chunk["usage"] = self.usage();
            return chunk;
        }
        let mut chunk = self.envelope(object, &[choice]);
        if self.instructions.usage == Reporting::WithNulls {
            chunk["usage"] = Value::Null;
        }
        chunk
    }
}

/// The events of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Opening,
    Content(u64),
    Finish,
    Usage,
}

fn word(position: u64) -> String {
    let count = WORDS.len() as u64;
    let word = usize::try_from(position % count)
        .ok()
        .and_then(|position| WORDS.get(position));
    (*word.unwrap_or(&"")).to_owned()
}

/// Returns the number of words of the prompt, plus two for the model's template.
fn prompt_tokens(request: &Value) -> u64 {
    let words = |text: &Value| {
        text.as_str()
            .map_or(0, |text| text.split_whitespace().count())
    };
    let messages = request["messages"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let in_messages: usize = messages
        .iter()
        .map(|message| words(&message["content"]))
        .sum();
    (in_messages + words(&request["prompt"])) as u64 + 2
}

#[cfg(test)]
mod tests;
