//! What the APIs of the providers say where: the one table of all dialects.
//!
//! No dialect is chosen beforehand. Their paths do not collide, so one tree of paths ([`paths`]) finds
//! whatever report a body has, and the names inside it tell what a number includes ([`Count`]).

use std::sync::{Arc, LazyLock};

use super::{paths::Paths, usage::Count};

/// What a value on a path means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// An object that reports usage; the counts are in it.
    Report,
    /// The same, where another report in the body comes first.
    SecondReport,
    /// A number in a report.
    Count(Count),
    /// A number at the root of a body that has no object for its report.
    Bare(Count),
    /// The model.
    Model,
    /// What kind of document this is, by its `type`, `object` or `event_type`.
    Kind,
    /// The choices of an OpenAI completion.
    Choices,
    /// Whether this is the last document of several (Ollama, Cohere).
    Done,
    /// Why there is no answer.
    Error,
    /// A value that only a completion has.
    Completion,
}

/// Where usage is reported as an object.
const REPORTS: &[&str] = &[
    // OpenAI chat, completions, embeddings, Responses, images, audio, and who speaks like them;
    // Anthropic messages; Bedrock Converse; Cohere v2.
    "usage",
    // Groq, streaming.
    "x_groq.usage",
    // OpenAI Responses, streaming.
    "response.usage",
    // Anthropic, `message_start`.
    "message.usage",
];

/// Numbers in such an object.
const COUNTS: &[(&str, Count)] = &[
    // OpenAI chat, completions, embeddings.
    ("prompt_tokens", Count::Prompt),
    ("completion_tokens", Count::Output),
    ("total_tokens", Count::Total),
    ("prompt_tokens_details.cached_tokens", Count::Cached),
    ("prompt_tokens_details.cache_write_tokens", Count::Cacheable),
    ("prompt_tokens_details.audio_tokens", Count::Audio),
    ("prompt_token_details.cached_tokens", Count::Cached),
    (
        "completion_tokens_details.reasoning_tokens",
        Count::Reasoning,
    ),
    ("reasoning_tokens", Count::Reasoning),
    // DeepSeek; SGLang and others.
    ("prompt_cache_hit_tokens", Count::Cached),
    ("cached_tokens", Count::Cached),
    // OpenAI Responses, Anthropic.
    ("input_tokens", Count::Input),
    ("output_tokens", Count::Output),
    ("input_tokens_details.cached_tokens", Count::Cached),
    ("input_tokens_details.cache_write_tokens", Count::Cacheable),
    ("output_tokens_details.reasoning_tokens", Count::Reasoning),
    ("output_tokens_details.thinking_tokens", Count::Reasoning),
    ("cache_read_input_tokens", Count::CacheRead),
    ("cache_creation_input_tokens", Count::CacheWrite),
];

/// Everything else.
const FIELDS: &[(&str, Field)] = &[
    ("model", Field::Model),
    ("response.model", Field::Model),
    ("message.model", Field::Model),
    ("type", Field::Kind),
    ("object", Field::Kind),
    ("event_type", Field::Kind),
    ("choices", Field::Choices),
    ("done", Field::Done),
    ("error", Field::Error),
    ("data[].embedding", Field::Completion),
    ("completion", Field::Completion),
];

/// All paths that matter in a document.
#[must_use]
pub fn paths() -> Arc<Paths<Field>> {
    static PATHS: LazyLock<Arc<Paths<Field>>> = LazyLock::new(|| {
        let mut paths = Paths::new();
        let counts: Vec<_> = COUNTS
            .iter()
            .map(|&(path, count)| (path, Field::Count(count)))
            .collect();
        paths.insert_under(REPORTS, Field::Report, &counts);
        for &(path, field) in FIELDS {
            paths.insert(path, field);
        }
        Arc::new(paths)
    });
    Arc::clone(&PATHS)
}

/// What a document is, by what it calls itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Part of a completion, or one.
    Completion,
    /// A piece of one that brings generated text only as `delta`, and repeats the text later.
    Event,
    /// The end of a stream.
    Last,
    /// Tells what went wrong.
    Error,
    /// Not a completion, though it may look like one: what it reports was charged before.
    Foreign,
    /// Something else.
    Unknown,
}

impl Kind {
    /// The kind for the value of `type`, `object` or `event_type`.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        match name {
            // Anthropic; OpenAI Responses; Cohere.
            b"message_stop"
            | b"response.completed"
            | b"response.incomplete"
            | b"response.failed"
            | b"message-end"
            | b"stream-end"
            | b"interaction.completed" => Self::Last,
            b"error" => Self::Error,
            b"batch" | b"message_batch" => Self::Foreign,
            b"message"
            | b"message_start"
            | b"content_block_start"
            | b"content_block_delta"
            | b"completion"
            | b"response"
            | b"chat.completion"
            | b"chat.completion.chunk"
            | b"text_completion" => Self::Completion,
            _ if name.starts_with(b"response.") => Self::Event,
            _ => Self::Unknown,
        }
    }
}

/// Ends of the paths at which completions are asked for, without a query.
const COMPLETION_PATHS: &[&str] = &["/completions", "/responses", "/embeddings", "/messages"];

/// Whether a request to `path` asks for a completion.
#[must_use]
pub fn is_completion_path(path: &[u8]) -> bool {
    let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
    COMPLETION_PATHS
        .iter()
        .any(|end| path.ends_with(end.as_bytes()))
}
