//! The request headers that control the mock.
//!
//! | header | effect |
//! |---|---|
//! | `x-mock-prompt-tokens` | tokens of the prompt |
//! | `x-mock-completion-tokens` | tokens of the completion; also, if streaming, events with content |
//! | `x-mock-use-bound` | as many tokens of the completion as the request allows for all choices and prompts, if it has a bound; it comes before `x-mock-completion-tokens` |
//! | `x-mock-events` | events with content, independent of the number of tokens |
//! | `x-mock-body-bytes` | minimum length of the completion's text |
//! | `x-mock-status` | the status; the body is an error unless it is 2xx |
//! | `x-mock-delay-ms` | delay before the response |
//! | `x-mock-barrier` | wait until this number of requests with this header is in flight |
//! | `x-mock-chunk-delay-ms` | delay before every part of the body except the first |
//! | `x-mock-silent` | no response |
//! | `x-mock-split` | the body is sent in parts of so many bytes |
//! | `x-mock-split-seed` | the body is sent in parts of random lengths that depend on the seed |
//! | `x-mock-abort-after` | closes the connection (HTTP/2: resets the stream) after so many parts |
//! | `x-mock-hold-after` | sends so many parts, then nothing until the client disconnects |
//! | `x-mock-no-usage` | no usage report, even if requested |
//! | `x-mock-reject-stream-options` | status 400 for a request with `stream_options`; the error names the field, unless the value is `vaguely` |
//! | `x-mock-usage-null-chunks` | every event except the last has `"usage": null` |
//! | `x-mock-no-done` | no `data: [DONE]` |
//! | `x-mock-comments` | comments between the events |
//! | `x-mock-line-ending` | `lf`, `crlf` or `cr` |
//! | `x-mock-content-type` | another content type; empty for none |
//! | `x-mock-empty` | an empty body |
//! | `x-mock-not-json` | a body that claims to be JSON |
//! | `x-mock-raw` | the body; `\n` and `\r` in it stand for the control characters |
//! | `x-mock-script` | the scripted response of that name |
//! | `x-mock-script-events` | its body is sent in parts that end with its blank lines or, without any, with its lines |
//!
//! A part is an event of a stream or a whole JSON body; with `x-mock-split` it is so many bytes of either.

use std::{str::FromStr, time::Duration};

use axum::http::{HeaderMap, StatusCode};

use fastrand::Rng;

use crate::random;

/// The instructions of a request.
#[derive(Debug, Default, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an instruction of its own"
)]
pub(super) struct Instructions {
    pub prompt_tokens: Option<u64>,
    pub completion_tokens: Option<u64>,
    pub uses_bound: bool,
    pub events: Option<u64>,
    pub body_bytes: usize,
    pub status: Option<StatusCode>,
    pub delay: Duration,
    pub barrier: Option<usize>,
    pub part_delay: Duration,
    pub silent: bool,
    pub split: Option<Split>,
    pub abort_after: Option<u64>,
    pub hold_after: Option<u64>,
    pub usage: Reporting,
    pub rejection: Option<&'static str>,
    pub done: bool,
    pub comments: bool,
    pub line_ending: &'static str,
    pub content_type: Option<String>,
    pub body: Option<String>,
}

/// How a body is split into parts.
#[derive(Debug, Clone)]
pub(super) enum Split {
    /// Parts of this many bytes.
    Every(usize),
    /// Parts of random lengths.
    Random(Rng),
}

impl Split {
    /// Returns the length of the next part.
    pub(super) fn length(&mut self) -> usize {
        match self {
            Self::Every(length) => *length,
            Self::Random(rng) => random::length(rng),
        }
    }
}

/// How a response reports usage.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reporting {
    /// A report; in a stream only if requested.
    #[default]
    Plain,
    /// As `Plain`, with `null` in the events before it.
    WithNulls,
    /// No report.
    Never,
}

impl Instructions {
    /// Reads the instructions. Headers that are not understood are ignored.
    pub(super) fn of(headers: &HeaderMap) -> Self {
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
            uses_bound: has("use-bound"),
            events: text("events").and_then(parse),
            body_bytes: text("body-bytes").and_then(parse).unwrap_or(0),
            status: text("status").and_then(parse),
            delay: milliseconds("delay-ms"),
            barrier: text("barrier").and_then(parse),
            part_delay: milliseconds("chunk-delay-ms"),
            silent: has("silent"),
            split: text("split")
                .and_then(parse)
                .filter(|bytes| *bytes > 0)
                .map(Split::Every)
                .or_else(|| {
                    let seed = text("split-seed").and_then(parse)?;
                    Some(Split::Random(Rng::with_seed(seed)))
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
            rejection: text("reject-stream-options").map(|value| match value {
                "vaguely" => "extra fields are not permitted",
                _ => "unrecognized request argument: stream_options",
            }),
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
