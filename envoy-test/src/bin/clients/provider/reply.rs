//! What the mock replies: a document or a stream, and its usage.

use axum::{
    body::Body,
    http::{HeaderMap, Response, StatusCode, header::CONTENT_TYPE},
};
use bytes::Bytes;
use serde_json::{Value, json};

use super::delivery::{self, Delivery};

/// The text of every response, in the pieces of a stream.
pub(super) const PIECES: [&str; 6] = [
    "Kubernetes ",
    "is a platform ",
    "that runs ",
    "containers",
    ", everywhere",
    ".",
];

/// The creation time of everything.
pub(super) const CREATED: u64 = 1_760_000_000;

/// The name of the tool that every request with tools has.
pub(super) const TOOL: &str = "get_weather";

/// The arguments of its call, in the pieces of a stream.
pub(super) const ARGUMENTS: [&str; 2] = [r#"{"city":"#, r#""Paris"}"#];

/// The vector of every embedding.
pub(super) const VECTOR: [f32; 4] = [0.25, -0.5, 0.75, 1.0];

/// A call of an API.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub path: &'a str,
    pub body: &'a Value,
    /// Whether the model calls the tool.
    pub has_tools: bool,
    pub tokens: Tokens,
}

/// The usage of a response, as tollgate normalizes it: the input includes what was read from a cache, and the output
/// includes reasoning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub input: u64,
    pub output: u64,
    pub cached: u64,
    pub reasoning: u64,
}

/// A reply.
#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    content: Content,
    /// What is to be charged.
    pub tokens: Tokens,
}

#[derive(Debug)]
enum Content {
    Document(Value),
    /// The content type, and the parts.
    Stream(&'static str, Vec<Bytes>),
}

// === impl Call ===

impl<'a> Call<'a> {
    pub(super) fn new(path: &'a str, body: &'a Value) -> Self {
        let has_tools = ["tools", "toolConfig"]
            .iter()
            .any(|key| body.get(key).is_some_and(|tools| *tools != json!([])));
        let tokens = Tokens {
            input: 20 + words(body),
            output: 9 + u64::from(has_tools),
            cached: 0,
            reasoning: 0,
        };
        Self {
            path,
            body,
            has_tools,
            tokens,
        }
    }

    /// Returns whether the body requests a stream.
    pub(super) fn streams(&self) -> bool {
        self.body["stream"] == true
    }

    /// Returns the model that the body names.
    pub(super) fn model(&self) -> &str {
        self.body["model"].as_str().unwrap_or_default()
    }
}

/// Returns the number of words of all texts in a value.
fn words(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.split_whitespace().count() as u64,
        Value::Array(values) => values.iter().map(words).sum(),
        Value::Object(members) => members.values().map(words).sum(),
        _ => 0,
    }
}

// === impl Tokens ===

impl Tokens {
    /// Returns the sum of input and output.
    pub(crate) fn total(self) -> u64 {
        self.input + self.output
    }

    /// Returns the usage without output, which a request for embeddings has.
    pub(super) fn of_input(self) -> Self {
        Self {
            input: self.input,
            ..Self::default()
        }
    }

    /// Returns the usage with a part of the input read from a cache, and a part of the output reasoning.
    pub(super) fn with_parts(self) -> Self {
        Self {
            cached: 5,
            reasoning: 3,
            ..self
        }
    }

    /// Returns the usage with a part of the input read from a cache.
    pub(super) fn with_cache(self) -> Self {
        Self { cached: 5, ..self }
    }
}

// === impl Reply ===

impl Reply {
    /// Returns a document, which costs these tokens.
    pub(super) fn document(document: Value, tokens: Tokens) -> Self {
        Self {
            status: StatusCode::OK,
            headers: Vec::new(),
            content: Content::Document(document),
            tokens,
        }
    }

    /// Returns a stream of these parts.
    pub(super) fn stream(content_type: &'static str, parts: Vec<Bytes>, tokens: Tokens) -> Self {
        Self {
            status: StatusCode::OK,
            headers: Vec::new(),
            content: Content::Stream(content_type, parts),
            tokens,
        }
    }

    /// Returns a stream of server-sent events.
    pub(super) fn events(events: Vec<Bytes>, tokens: Tokens) -> Self {
        Self::stream("text/event-stream", events, tokens)
    }

    /// Returns an error in the format of `OpenAI`.
    pub(super) fn error(status: StatusCode, message: &str) -> Self {
        let error = json!({ "error": {
            "message": message, "type": "invalid_request_error", "param": null, "code": null,
        } });
        Self::document(error, Tokens::default()).status(status)
    }

    /// Sets the status.
    pub(super) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Returns the response to a request with these headers.
    pub(super) fn into_response(self, request: &HeaderMap) -> Result<Response<Body>, StatusCode> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in &self.headers {
            response = response.header(*name, value);
        }
        let (content_type, parts, hold) = match self.content {
            Content::Document(document) => (
                "application/json",
                vec![Bytes::from(document.to_string())],
                false,
            ),
            Content::Stream(content_type, parts) => {
                (content_type, parts, request.contains_key("x-mock-hold"))
            }
        };
        let coding = delivery::coding(request);
        if let Some(coding) = coding {
            response = response.header("content-encoding", coding);
        }
        let hold_after = hold.then(|| parts.len() / 2 + 1);
        let delivery = Delivery::new(parts, coding.is_some(), hold_after);
        response
            .header(CONTENT_TYPE, content_type)
            .body(delivery.into_body())
            .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// Returns a server-sent event without a name.
pub(super) fn data(data: &Value) -> Bytes {
    format!("data: {data}\n\n").into()
}

/// Returns a server-sent event whose name is the `type` of its data.
pub(super) fn event(data: &Value) -> Bytes {
    let name = data["type"].as_str().unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// Returns the arguments of the tool's call.
pub(super) fn arguments() -> Value {
    serde_json::from_str(&ARGUMENTS.concat()).unwrap_or_default()
}
