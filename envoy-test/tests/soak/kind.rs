//! The kinds of exchanges.

use std::io::{self, Write};

use envoy_test::{
    client::Chat,
    llm::{Llm, Script},
};
use fastrand::Rng;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

/// The tokens of a response in a coding.
const ENCODED_TOKENS: (u64, u64) = (40, 60);

/// The tokens of a background response.
pub(crate) const BACKGROUND_TOKENS: u64 = 100;

/// How many background responses the provider has.
pub(crate) const MAX_BACKGROUND: u64 = 20_000;

/// A kind of exchange, which is also the name of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Json,
    Stream,
    /// A stream whose usage report the filter requests.
    StreamWithoutReport,
    Gzip,
    Brotli,
    Zstd,
    /// A response that is generated in the background and then fetched.
    Background,
    /// At most two at once; others wait.
    Queue,
    /// A model without tokens, and another one in its place.
    Fallback,
    /// Paid from a budget.
    Budget,
    /// At most three at once; others are rejected.
    Concurrency,
    /// Few tokens in a short window.
    Limited,
    /// An error of the provider.
    Failure,
}

impl Kind {
    /// All kinds.
    pub(crate) const ALL: [Self; 13] = [
        Self::Json,
        Self::Stream,
        Self::StreamWithoutReport,
        Self::Gzip,
        Self::Brotli,
        Self::Zstd,
        Self::Background,
        Self::Queue,
        Self::Fallback,
        Self::Budget,
        Self::Concurrency,
        Self::Limited,
        Self::Failure,
    ];

    /// Returns its caller.
    pub(crate) fn caller(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Stream => "stream",
            Self::StreamWithoutReport => "stream-without-report",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Background => "background",
            Self::Queue => "queue",
            Self::Fallback => "fallback",
            Self::Budget => "budget",
            Self::Concurrency => "concurrency",
            Self::Limited => "limited",
            Self::Failure => "failure",
        }
    }

    /// Returns whether a client of this kind can be rejected.
    pub(crate) fn can_be_rejected(self) -> bool {
        matches!(self, Self::Queue | Self::Concurrency | Self::Limited)
    }

    /// Returns a request of this kind, and the tokens of its response.
    pub(crate) fn chat(self, rng: &mut Rng) -> (Chat, u64) {
        let (input, output) = (rng.u64(1..50), rng.u64(1..200));
        let chat = Chat::new("What is Kubernetes?", 200)
            .header("x-mock-prompt-tokens", input)
            .header("x-mock-completion-tokens", output)
            .header("x-mock-events", rng.u64(1..12))
            .header("x-mock-delay-ms", rng.u64(0..20));
        let streamed =
            |chat: Chat, rng: &mut Rng| chat.header("x-mock-chunk-delay-ms", rng.u64(0..8));
        let total = input + output;
        match self {
            Self::Json | Self::Background => (chat, total),
            Self::Stream => (streamed(chat.stream(true), rng), total),
            Self::StreamWithoutReport => (streamed(chat.stream(false), rng), total),
            Self::Gzip | Self::Brotli | Self::Zstd => {
                let chat = Chat::new("What is Kubernetes?", 200)
                    .header("x-mock-script", self.caller())
                    .header("x-mock-split-seed", rng.u64(..));
                (chat, ENCODED_TOKENS.0 + ENCODED_TOKENS.1)
            }
            Self::Fallback => (chat.field("model", "large"), total),
            Self::Queue | Self::Budget | Self::Concurrency | Self::Limited => {
                let chat = chat.header("x-kind", self.caller());
                let is_streamed = rng.bool();
                (
                    if is_streamed {
                        streamed(chat.stream(true), rng)
                    } else {
                        chat
                    },
                    total,
                )
            }
            Self::Failure => (chat.header("x-mock-status", 503), 0),
        }
    }
}

/// Sets the scripted responses of the provider.
pub(crate) fn script(llm: &Llm) -> io::Result<()> {
    let (input, output) = ENCODED_TOKENS;
    let body = json!({
        "object": "chat.completion",
        "model": "encoded",
        "choices": [{ "message": { "role": "assistant", "content": "Rivers run. ".repeat(100) } }],
        "usage": { "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output },
    });
    let body = body.to_string();
    for (kind, bytes) in [
        (Kind::Gzip, gzip(body.as_bytes())?),
        (Kind::Brotli, brotli(body.as_bytes())?),
        (Kind::Zstd, zstd(body.as_bytes())?),
    ] {
        let script = Script {
            status: 200,
            headers: vec![
                ("content-type".to_owned(), "application/json".to_owned()),
                ("content-encoding".to_owned(), kind.caller().to_owned()),
            ],
            body: bytes.into(),
        };
        llm.script(kind.caller(), script);
    }
    for number in 0..MAX_BACKGROUND {
        for status in ["queued", "completed"] {
            let script = Script {
                status: 200,
                headers: vec![("content-type".to_owned(), "application/json".to_owned())],
                body: background(number, status).to_string().into(),
            };
            llm.script(format!("{status} {number}"), script);
        }
    }
    Ok(())
}

/// A background response.
fn background(number: u64, status: &str) -> Value {
    let text = json!([{ "type": "output_text", "text": "Rivers run." }]);
    let (output, usage) = if status == "completed" {
        let output = json!([{ "type": "message", "role": "assistant", "content": text }]);
        let usage =
            json!({ "input_tokens": 10, "output_tokens": 90, "total_tokens": BACKGROUND_TOKENS });
        (output, usage)
    } else {
        (json!([]), Value::Null)
    };
    json!({
        "id": format!("resp_{number}"), "object": "response", "background": true, "status": status, "error": null,
        "model": "m", "output": output, "usage": usage,
    })
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// A stream of brotli with one part, which is not compressed.
fn brotli(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    // Four bits for the window and for the size of the length, sixteen for the length, and one for the bytes as they are.
    let head = (length - 1) << 4 | 1 << 20;
    Ok([&head.to_le_bytes()[..3], bytes, &[0b11]].concat())
}

/// A frame of zstd with one block, which is not compressed.
fn zstd(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    // A window of 1 MiB; the last block, as it is.
    let head = [0x28, 0xb5, 0x2f, 0xfd, 0, 10 << 3];
    let block = (length << 3 | 1).to_le_bytes();
    Ok([&head[..], &block[..3], bytes].concat())
}
