//! The API that a request calls, by its path.

use std::sync::Arc;

use crate::bounded_text::{MAX_MODEL_BYTES, bounded_text};

/// An API of a provider.
///
/// ```
/// use usage_meter::request::Endpoint;
///
/// let endpoint = Endpoint::of_path("/model/anthropic.claude-v2/converse-stream").unwrap();
/// assert_eq!((endpoint.provider, endpoint.api), ("bedrock", "converse"));
/// assert_eq!(endpoint.model.as_deref(), Some("anthropic.claude-v2"));
/// assert_eq!(endpoint.stream, Some(true));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The provider whose API it is; `openai` also for the many servers that are compatible with it.
    pub provider: &'static str,
    /// The API of the provider.
    pub api: &'static str,
    /// The model, if the path names it; a name of more than 160 bytes is [cut](crate::bounded_text).
    pub model: Option<Arc<str>>,
    /// Whether the path says that the response is streamed; `None` if the body says so.
    pub stream: Option<bool>,
}

/// The suffixes of paths whose API takes the model from the body; longer suffixes first.
const SUFFIXES: &[(&str, &str, &str)] = &[
    ("/chat/completions", "openai", "chat_completions"),
    ("/completions", "openai", "completions"),
    ("/embeddings", "openai", "embeddings"),
    ("/responses", "openai", "responses"),
    ("/images/generations", "openai", "images"),
    ("/images/edits", "openai", "images"),
    ("/audio/transcriptions", "openai", "audio"),
    ("/audio/translations", "openai", "audio"),
    ("/audio/speech", "openai", "audio"),
    ("/v1/messages", "anthropic", "messages"),
    ("/api/chat", "ollama", "chat"),
    ("/api/generate", "ollama", "generate"),
    ("/api/embed", "ollama", "embeddings"),
    ("/v1/chat", "cohere", "chat"),
    ("/v2/chat", "cohere", "chat"),
    ("/v1/embed", "cohere", "embeddings"),
    ("/v2/embed", "cohere", "embeddings"),
    ("/v1/generate", "cohere", "generate"),
];

/// The methods of Gemini and Vertex, after the colon.
const METHODS: &[(&str, &str, bool)] = &[
    ("generateContent", "generate_content", false),
    ("streamGenerateContent", "generate_content", true),
    ("embedContent", "embeddings", false),
    ("batchEmbedContents", "embeddings", false),
    ("rawPredict", "raw_predict", false),
    ("streamRawPredict", "raw_predict", true),
    ("predict", "predict", false),
];

/// The operations of Bedrock, after the model.
const OPERATIONS: &[(&str, &str, bool)] = &[
    ("converse", "converse", false),
    ("converse-stream", "converse", true),
    ("invoke", "invoke", false),
    ("invoke-with-response-stream", "invoke", true),
];

// === impl Endpoint ===

impl Endpoint {
    /// Returns the API that a path leads to, with or without its query; `None` if it is not known.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let path = path.strip_suffix('/').unwrap_or(path);
        gemini(path)
            .or_else(|| bedrock(path))
            .or_else(|| by_suffix(path))
    }

    /// Returns whether the API generates text, token by token.
    #[must_use]
    pub fn generates_text(&self) -> bool {
        !matches!(self.api, "embeddings" | "images" | "audio")
    }

    /// Returns whether the API reports the usage of a stream only if `stream_options` ask for it.
    #[must_use]
    pub fn has_stream_options(&self) -> bool {
        matches!(self.provider, "openai" | "azure")
            && matches!(self.api, "chat_completions" | "completions")
    }
}

/// Finds an API by the suffix of the path.
fn by_suffix(path: &str) -> Option<Endpoint> {
    let &(suffix, provider, api) = SUFFIXES
        .iter()
        .find(|(suffix, ..)| path.ends_with(suffix))?;
    // Azure: `/openai/deployments/{model}/chat/completions`.
    let before = path.strip_suffix(suffix)?;
    let deployment = before.rsplit_once("/deployments/").map(|(_, model)| model);
    let azure = deployment.filter(|model| provider == "openai" && !model.contains('/'));
    Some(Endpoint {
        provider: if azure.is_some() { "azure" } else { provider },
        api,
        model: azure.map(model_name),
        stream: None,
    })
}

/// Finds `.../models/{model}:{method}`, below `publishers/{publisher}` on Vertex.
fn gemini(path: &str) -> Option<Endpoint> {
    let (before, method) = path.rsplit_once(':')?;
    let (before, model) = before.rsplit_once('/')?;
    let &(_, api, stream) = METHODS.iter().find(|(name, ..)| *name == method)?;
    if !before.ends_with("/models") && !before.ends_with("/endpoints") {
        return None;
    }
    Some(Endpoint {
        provider: if before.contains("/publishers/") || before.ends_with("/endpoints") {
            "vertex"
        } else {
            "gemini"
        },
        api,
        model: Some(model_name(model)),
        stream: Some(stream),
    })
}

/// Finds `/model/{model}/{operation}`.
fn bedrock(path: &str) -> Option<Endpoint> {
    let (before, operation) = path.rsplit_once('/')?;
    let (before, model) = before.rsplit_once('/')?;
    let &(_, api, stream) = OPERATIONS.iter().find(|(name, ..)| *name == operation)?;
    before.ends_with("/model").then_some(Endpoint {
        provider: "bedrock",
        api,
        model: Some(model_name(model)),
        stream: Some(stream),
    })
}

/// Returns the name of a model from a path segment.
fn model_name(segment: &str) -> Arc<str> {
    bounded_text(&percent_decoded(segment), MAX_MODEL_BYTES).into()
}

/// Decodes the percent-encoding of a path segment (RFC 3986, section 2.1), so that a client cannot give a
/// model several names. Invalid encodings stay as they are; bytes that are not UTF-8 are replaced.
fn percent_decoded(segment: &str) -> String {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let digits = (digit(ahead.next()), digit(ahead.next()));
        if let (b'%', (Some(high), Some(low))) = (byte, digits)
            && let Ok(encoded) = u8::try_from(high << 4 | low)
        {
            bytes.push(encoded);
            rest = ahead;
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
