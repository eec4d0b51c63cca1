//! The request headers by which a test tells the mock what to do.
//!
//! | header | effect |
//! |---|---|
//! | `x-mock-prompt-tokens` | tokens of the prompt |
//! | `x-mock-completion-tokens` | tokens of the completion; also, if streaming, events with content |
//! | `x-mock-events` | events with content, whatever the number of tokens |
//! | `x-mock-body-bytes` | the completion's text is at least so long |
//! | `x-mock-status` | the status; an error body unless 2xx |
//! | `x-mock-delay-ms` | waits before it answers |
//! | `x-mock-chunk-delay-ms` | waits before every part of the body but the first |
//! | `x-mock-silent` | never answers |
//! | `x-mock-split` | sends the body in parts of so many bytes |
//! | `x-mock-split-seed` | sends the body in parts of random lengths, the same for the same seed |
//! | `x-mock-abort-after` | breaks the connection (HTTP/2: resets the stream) after so many parts |
//! | `x-mock-hold-after` | sends so many parts and then nothing, for as long as the client stays |
//! | `x-mock-no-usage` | reports no usage, even if asked |
//! | `x-mock-usage-null-chunks` | every event but the last has `"usage": null` |
//! | `x-mock-no-done` | no `data: [DONE]` |
//! | `x-mock-comments` | comments between the events |
//! | `x-mock-line-ending` | `lf`, `crlf` or `cr` |
//! | `x-mock-content-type` | another content type; empty for none |
//! | `x-mock-empty` | an empty body |
//! | `x-mock-not-json` | a body that claims to be JSON |
//! | `x-mock-raw` | the body; `\n` and `\r` in it stand for the control characters |
//! | `x-mock-script` | the answer of that name, see [`Llm::script`](super::Llm::script) |
//!
//! A part is an event of a stream, the whole of a JSON body, or with `x-mock-split` so many bytes of either.

use std::{str::FromStr, time::Duration};

use axum::http::{HeaderMap, StatusCode};

use crate::random::Random;

/// What a request asks of the mock.
#[derive(Debug, Default, Clone)]
pub(super) struct Instructions {
    pub prompt_tokens: Option<u64>,
    pub completion_tokens: Option<u64>,
    pub events: Option<u64>,
    pub body_bytes: usize,
    pub status: Option<StatusCode>,
    pub delay: Duration,
    pub part_delay: Duration,
    pub silent: bool,
    pub split: Option<Split>,
    pub abort_after: Option<u64>,
    pub hold_after: Option<u64>,
    pub usage: Reporting,
    pub done: bool,
    pub comments: bool,
    pub line_ending: &'static str,
    pub content_type: Option<String>,
    pub body: Option<String>,
}

/// How a body is split.
#[derive(Debug, Clone)]
pub(super) enum Split {
    /// After every so many bytes.
    Every(usize),
    /// At random.
    Random(Random),
}

impl Split {
    /// The length of the next part.
    pub fn length(&mut self) -> usize {
        match self {
            Self::Every(length) => *length,
            Self::Random(random) => random.length(),
        }
    }
}

/// What a response says about usage.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reporting {
    /// The usage, in a stream if asked for.
    #[default]
    Plain,
    /// As `Plain`, and `null` in the events before.
    WithNulls,
    /// Nothing.
    Never,
}

impl Instructions {
    /// Reads them; what is not understood is as if it were not there.
    pub fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| {
            headers
                .get(format!("x-mock-{name}"))
                .and_then(|v| v.to_str().ok())
        };
        let has = |name: &str| text(name).is_some();
        let milliseconds =
            |name: &str| Duration::from_millis(text(name).and_then(parse).unwrap_or(0));
        Self {
            prompt_tokens: text("prompt-tokens").and_then(parse),
            completion_tokens: text("completion-tokens").and_then(parse),
            events: text("events").and_then(parse),
            body_bytes: text("body-bytes").and_then(parse).unwrap_or(0),
            status: text("status").and_then(parse),
            delay: milliseconds("delay-ms"),
            part_delay: milliseconds("chunk-delay-ms"),
            silent: has("silent"),
            split: text("split")
                .and_then(parse)
                .filter(|bytes| *bytes > 0)
                .map(Split::Every)
                .or_else(|| {
                    Some(Split::Random(Random::new(
                        text("split-seed").and_then(parse)?,
                    )))
                }),
            abort_after: text("abort-after").and_then(parse),
            hold_after: text("hold-after").and_then(parse),
            usage: if has("no-usage") {
                Reporting::Never
            } else if has("usage-null-chunks") {
                Reporting::WithNulls
            } else {
                Reporting::Plain
            },
            done: !has("no-done"),
            comments: has("comments"),
            line_ending: match text("line-ending") {
                Some("crlf") => "\r\n",
                Some("cr") => "\r",
                _ => "\n",
            },
            content_type: text("content-type").map(str::to_owned),
            body: if has("empty") {
                Some(String::new())
            } else if has("not-json") {
                Some("<html>upstream says hello</html>".to_owned())
            } else {
                text("raw").map(|raw| raw.replace("\\n", "\n").replace("\\r", "\r"))
            },
        }
    }
}

fn parse<T: FromStr>(value: &str) -> Option<T> {
    value.trim().parse().ok()
}
