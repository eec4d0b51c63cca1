//! The API that a request calls, by its path.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::path::{self, EncodedSlash};
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
    /// Whether requests and errors have the format of Anthropic's own API: there, and for its models on Vertex and Bedrock.
    pub is_anthropic: bool,
}

/// The providers of all known APIs.
pub const PROVIDERS: [&str; 8] = [
    "anthropic",
    "azure",
    "bedrock",
    "cohere",
    "gemini",
    "ollama",
    "openai",
    "vertex",
];

/// All known APIs of providers.
pub const APIS: [&str; 14] = [
    "audio",
    "chat",
    "chat_completions",
    "completions",
    "converse",
    "embeddings",
    "generate",
    "generate_content",
    "images",
    "invoke",
    "messages",
    "predict",
    "raw_predict",
    "responses",
];

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
    /// Returns the API that a path leads to, with or without its query; `None` if it is not known. Each spelling that a
    /// server may take as the same path counts: percent-encoding, repeated and trailing slashes, dot segments, parameters
    /// of segments, upper and lower case.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let canonical = path::canonical(path, EncodedSlash::Character);
        Self::of_canonical_path(&canonical).or_else(|| {
            let has_encoded_slash = path.contains("%2") || path.contains("%5");
            let canonical =
                has_encoded_slash.then(|| path::canonical(path, EncodedSlash::Separator))?;
            Self::of_canonical_path(&canonical)
        })
    }

    fn of_canonical_path(path: &str) -> Option<Self> {
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
    let (before, provider, api) = SUFFIXES.iter().find_map(|&(suffix, provider, api)| {
        strip_suffix(path, suffix).map(|before| (before, provider, api))
    })?;
    // Azure: `/openai/deployments/{model}/chat/completions`.
    let azure = before.rsplit_once('/').and_then(|(parent, model)| {
        let is_deployment = provider == "openai" && strip_suffix(parent, "/deployments").is_some();
        is_deployment.then_some(model)
    });
    Some(Endpoint {
        provider: if azure.is_some() { "azure" } else { provider },
        api,
        model: azure.map(model_name),
        stream: None,
        is_anthropic: provider == "anthropic",
    })
}

/// Finds `.../models/{model}:{method}`, below `publishers/{publisher}` on Vertex.
fn gemini(path: &str) -> Option<Endpoint> {
    let (before, method) = path.rsplit_once(':')?;
    let (before, model) = before.rsplit_once('/')?;
    let &(_, api, stream) = METHODS
        .iter()
        .find(|(name, ..)| name.eq_ignore_ascii_case(method))?;
    let is_endpoint = strip_suffix(before, "/endpoints").is_some();
    if !is_endpoint && strip_suffix(before, "/models").is_none() {
        return None;
    }
    let is_vertex = is_endpoint
        || before
            .split('/')
            .any(|segment| segment.eq_ignore_ascii_case("publishers"));
    Some(Endpoint {
        provider: if is_vertex { "vertex" } else { "gemini" },
        api,
        model: Some(model_name(model)),
        stream: Some(stream),
        is_anthropic: api == "raw_predict"
            && strip_suffix(before, "/publishers/anthropic/models").is_some(),
    })
}

/// Finds `/model/{model}/{operation}`.
fn bedrock(path: &str) -> Option<Endpoint> {
    let (before, operation) = path.rsplit_once('/')?;
    let (before, model) = before.rsplit_once('/')?;
    let &(_, api, stream) = OPERATIONS
        .iter()
        .find(|(name, ..)| name.eq_ignore_ascii_case(operation))?;
    let model = model_name(model);
    strip_suffix(before, "/model").map(|_| Endpoint {
        provider: "bedrock",
        api,
        is_anthropic: api == "invoke" && model.contains("anthropic."),
        model: Some(model),
        stream: Some(stream),
    })
}

/// Returns what precedes a suffix, in upper or lower case.
fn strip_suffix<'a>(path: &'a str, suffix: &str) -> Option<&'a str> {
    let (before, end) = path.split_at_checked(path.len().checked_sub(suffix.len())?)?;
    end.eq_ignore_ascii_case(suffix).then_some(before)
}

/// Returns the name of a model from a path segment.
fn model_name(segment: &str) -> Arc<str> {
    bounded_text(&path::percent_decoded(segment), MAX_MODEL_BYTES).into()
}
