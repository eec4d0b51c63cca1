//! Which API a request speaks to, by its path; and the model, where the path names it.

/// An API of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whose API it is: `openai` also for the many servers that speak it.
    pub provider: &'static str,
    /// Which of the provider's APIs.
    pub api: &'static str,
    /// The model, where the path names it.
    pub model: Option<String>,
    /// Whether the path says that the answer is streamed; `None` where the body does.
    pub stream: Option<bool>,
}

impl Target {
    /// Whether the API streams usage only to those who ask for it with `stream_options`.
    #[must_use]
    pub fn has_stream_options(&self) -> bool {
        matches!(self.provider, "openai" | "azure")
            && matches!(self.api, "chat_completions" | "completions")
    }
}

/// The ends of paths whose API takes the model from the body: the longest first.
const ENDS: &[(&str, &str, &str)] = &[
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

/// The API that a path, with or without its query, leads to; `None` where none is known.
#[must_use]
pub fn target(path: &str) -> Option<Target> {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let path = path.strip_suffix('/').unwrap_or(path);
    gemini(path)
        .or_else(|| bedrock(path))
        .or_else(|| by_end(path))
}

fn by_end(path: &str) -> Option<Target> {
    let &(end, provider, api) = ENDS.iter().find(|(end, ..)| path.ends_with(end))?;
    // Azure: `/openai/deployments/{model}/chat/completions`.
    let before = path.strip_suffix(end)?;
    let deployment = before.rsplit_once("/deployments/").map(|(_, model)| model);
    let azure = deployment.filter(|model| provider == "openai" && !model.contains('/'));
    Some(Target {
        provider: if azure.is_some() { "azure" } else { provider },
        api,
        model: azure.map(decoded),
        stream: None,
    })
}

/// `.../models/{model}:{method}`, below `publishers/{publisher}` on Vertex.
fn gemini(path: &str) -> Option<Target> {
    let (before, method) = path.rsplit_once(':')?;
    let (before, model) = before.rsplit_once('/')?;
    let &(_, api, stream) = METHODS.iter().find(|(name, ..)| *name == method)?;
    if !before.ends_with("/models") && !before.ends_with("/endpoints") {
        return None;
    }
    Some(Target {
        provider: if before.contains("/publishers/") || before.ends_with("/endpoints") {
            "vertex"
        } else {
            "gemini"
        },
        api,
        model: Some(decoded(model)),
        stream: Some(stream),
    })
}

/// `/model/{model}/{operation}`.
fn bedrock(path: &str) -> Option<Target> {
    let (before, operation) = path.rsplit_once('/')?;
    let (before, model) = before.rsplit_once('/')?;
    let &(_, api, stream) = OPERATIONS.iter().find(|(name, ..)| *name == operation)?;
    before.ends_with("/model").then_some(Target {
        provider: "bedrock",
        api,
        model: Some(decoded(model)),
        stream: Some(stream),
    })
}

/// A segment of a path without its percent-encoding (RFC 3986, section 2.1), under which a model would
/// have as many names as a caller likes. What is no encoding stays as it is; what is not UTF-8 then is
/// replaced.
fn decoded(segment: &str) -> String {
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
