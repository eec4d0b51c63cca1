//! What the APIs of the providers say where: the one table of all dialects.
//!
//! No dialect is chosen beforehand. Their paths do not collide, so one tree of paths ([`UsagePaths`]) finds
//! whatever report a body has, and the names inside it tell what a number includes ([`Count`]).

use std::sync::{Arc, LazyLock};

use super::{paths::Paths, usage::Count};

/// What a value on a path means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// An object that reports usage; the counts are in it.
    Report(Rank),
    /// A number in a report.
    Count(Count),
    /// A number of a report that is no object of its own; those of several documents do not add up.
    Bare(Count),
    /// A number that tells that the bare ones of its document are no report.
    NotBare,
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
    /// The total where the policy says that it is, by the place of its pointer among them.
    Total(u8),
}

/// Which report counts where a body has several, first to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// The API's own.
    Own,
    /// Numbers outside an object: [`Field::Bare`].
    Bare,
    /// In passing, or where others keep what their caller chose.
    Passing,
    /// Of the platform that the model runs on.
    Platform,
    /// In the headers.
    Headers,
}

impl Rank {
    /// How many there are.
    pub const COUNT: usize = 5;
}

/// Where usage is reported as an object.
const REPORTS: &[(&str, Rank)] = &[
    // OpenAI chat, completions, embeddings, Responses, images, audio, assistants, and who speaks like
    // them; Anthropic messages; Bedrock Converse; Cohere v2; Gemini interactions.
    ("usage", Rank::Own),
    // Groq, streaming.
    ("x_groq.usage", Rank::Own),
    // OpenAI Responses, streaming.
    ("response.usage", Rank::Own),
    // Anthropic, `message_start`.
    ("message.usage", Rank::Own),
    // Cohere v2, `message-end`.
    ("delta.usage", Rank::Own),
    // Cohere v1; `stream-end`.
    ("meta", Rank::Own),
    ("response.meta", Rank::Own),
    // Gemini and Vertex; wrapped by Code Assist.
    ("usageMetadata", Rank::Own),
    ("response.usageMetadata", Rank::Own),
    // Gemini interactions, `interaction.completed`; events before it.
    ("interaction.usage", Rank::Own),
    // The same in passing; Nova on Bedrock, in a stream.
    ("metadata.usage", Rank::Passing),
    // Any model on Bedrock, in a stream.
    ("amazon-bedrock-invocationMetrics", Rank::Platform),
];

/// Numbers in such an object.
const COUNTS: &[(&str, Count)] = &[
    // OpenAI chat, completions, embeddings, assistants.
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
    // DeepSeek; SGLang, Cohere and others.
    ("prompt_cache_hit_tokens", Count::Cached),
    ("cached_tokens", Count::Cached),
    // OpenAI Responses, images, audio; Anthropic.
    ("input_tokens", Count::Input),
    ("output_tokens", Count::Output),
    ("input_tokens_details.cached_tokens", Count::Cached),
    ("input_tokens_details.cache_write_tokens", Count::Cacheable),
    ("output_tokens_details.reasoning_tokens", Count::Reasoning),
    ("output_tokens_details.thinking_tokens", Count::Reasoning),
    ("cache_read_input_tokens", Count::CacheRead),
    ("cache_creation_input_tokens", Count::CacheWrite),
    // Gemini and Vertex.
    ("promptTokenCount", Count::Prompt),
    ("candidatesTokenCount", Count::Output),
    ("totalTokenCount", Count::Total),
    ("cachedContentTokenCount", Count::Cached),
    ("toolUsePromptTokenCount", Count::ToolPrompt),
    ("thoughtsTokenCount", Count::Thoughts),
    // Gemini interactions.
    ("total_input_tokens", Count::Prompt),
    ("total_output_tokens", Count::Output),
    ("total_cached_tokens", Count::Cached),
    ("total_tool_use_tokens", Count::ToolPrompt),
    ("total_thought_tokens", Count::Thoughts),
    // Bedrock Converse; Nova.
    ("inputTokens", Count::Input),
    ("outputTokens", Count::Output),
    ("totalTokens", Count::Total),
    ("cacheReadInputTokens", Count::CacheRead),
    ("cacheWriteInputTokens", Count::CacheWrite),
    ("cacheReadInputTokenCount", Count::CacheRead),
    ("cacheWriteInputTokenCount", Count::CacheWrite),
    // Bedrock's own metrics.
    ("inputTokenCount", Count::Input),
    ("outputTokenCount", Count::Output),
    // Cohere.
    ("tokens.input_tokens", Count::Prompt),
    ("tokens.output_tokens", Count::Output),
    ("billed_units.input_tokens", Count::BilledInput),
    ("billed_units.output_tokens", Count::BilledOutput),
];

/// Everything else.
const FIELDS: &[(&str, Field)] = &[
    // Ollama.
    ("prompt_eval_count", Field::Bare(Count::Prompt)),
    ("eval_count", Field::Bare(Count::Output)),
    // Llama on Bedrock.
    ("prompt_token_count", Field::Bare(Count::Prompt)),
    ("generation_token_count", Field::Bare(Count::Output)),
    // Titan on Bedrock; its streams report as Bedrock does.
    ("inputTextTokenCount", Field::Bare(Count::Prompt)),
    ("results[].tokenCount", Field::Bare(Count::Output)),
    ("totalOutputTextTokenCount", Field::NotBare),
    // watsonx.
    ("results[].input_token_count", Field::Bare(Count::Prompt)),
    (
        "results[].generated_token_count",
        Field::Bare(Count::Output),
    ),
    // Aleph Alpha.
    ("num_tokens_prompt_total", Field::Bare(Count::Prompt)),
    ("num_tokens_generated", Field::Bare(Count::Output)),
    // Text Generation Inference; llama.cpp.
    ("details.input_length", Field::Bare(Count::Prompt)),
    ("details.generated_tokens", Field::Bare(Count::Output)),
    ("tokens_evaluated", Field::Bare(Count::Prompt)),
    ("tokens_predicted", Field::Bare(Count::Output)),
    // Embeddings on Vertex.
    (
        "predictions[].embeddings.statistics.token_count",
        Field::Bare(Count::Prompt),
    ),
    ("model", Field::Model),
    ("modelVersion", Field::Model),
    ("model_id", Field::Model),
    ("response.model", Field::Model),
    ("response.modelVersion", Field::Model),
    ("message.model", Field::Model),
    ("interaction.model", Field::Model),
    ("type", Field::Kind),
    ("object", Field::Kind),
    ("event_type", Field::Kind),
    ("choices", Field::Choices),
    ("done", Field::Done),
    ("is_finished", Field::Done),
    ("error", Field::Error),
    // Embeddings: OpenAI, Cohere and Gemini, Titan, Vertex.
    ("data[].embedding", Field::Completion),
    ("embeddings", Field::Completion),
    ("embedding", Field::Completion),
    ("predictions[].embeddings", Field::Completion),
    // Gemini.
    ("candidates", Field::Completion),
    ("response.candidates", Field::Completion),
    // Bedrock: Converse and Nova, Anthropic, Llama, Titan, AI21, Mistral.
    ("output.message", Field::Completion),
    ("stopReason", Field::Completion),
    ("stop_reason", Field::Completion),
    ("completion", Field::Completion),
    ("generation", Field::Completion),
    ("outputText", Field::Completion),
    ("results[].outputText", Field::Completion),
    ("completions", Field::Completion),
    ("outputs[].stop_reason", Field::Completion),
    // Cohere; watsonx; Text Generation Inference.
    ("finish_reason", Field::Completion),
    ("generation_id", Field::Completion),
    ("generations", Field::Completion),
    ("results[].generated_text", Field::Completion),
    ("generated_text", Field::Completion),
];

/// The most pointers that a policy may have.
pub const MOST_POINTERS: usize = 32;

/// All paths that matter in a document: those of the dialects, and those of a policy.
#[derive(Clone, Debug)]
pub struct UsagePaths {
    paths: Arc<Paths<Field>>,
    below_usage: bool,
}

/// Why pointers to the total cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsagePathError {
    /// It is not a JSON pointer to a value in an object, or goes too deep.
    #[error("not a JSON pointer to a member of an object: {0:?}")]
    Invalid(String),
    /// There are more than [`MOST_POINTERS`].
    #[error("more than {MOST_POINTERS} pointers")]
    TooMany,
}

impl Default for UsagePaths {
    /// Those of the dialects.
    fn default() -> Self {
        static PATHS: LazyLock<Arc<Paths<Field>>> = LazyLock::new(|| Arc::new(dialects()));
        Self {
            paths: Arc::clone(&PATHS),
            below_usage: true,
        }
    }
}

impl UsagePaths {
    /// Those of the dialects, and JSON pointers to the total; the first of them that is there gives it.
    ///
    /// # Errors
    ///
    /// If there are too many pointers, or one is none.
    pub fn new<'a>(pointers: impl IntoIterator<Item = &'a str>) -> Result<Self, UsagePathError> {
        let mut paths = dialects();
        let mut below_usage = true;
        for (place, pointer) in pointers.into_iter().enumerate() {
            let place = u8::try_from(place).map_err(|_| UsagePathError::TooMany)?;
            if usize::from(place) >= MOST_POINTERS {
                return Err(UsagePathError::TooMany);
            }
            if !paths.insert_pointer(pointer, Field::Total(place)) {
                return Err(UsagePathError::Invalid(pointer.to_owned()));
            }
            below_usage &= pointer.contains("usage");
        }
        Ok(Self {
            paths: Arc::new(paths),
            below_usage,
        })
    }

    /// The tree that a scanner needs.
    #[must_use]
    pub fn paths(&self) -> Arc<Paths<Field>> {
        Arc::clone(&self.paths)
    }

    /// Whether all usage is below keys that contain `usage`.
    #[must_use]
    pub fn are_below_usage(&self) -> bool {
        self.below_usage
    }
}

/// The tree of the tables.
fn dialects() -> Paths<Field> {
    let mut paths = Paths::new();
    let reports: Vec<_> = REPORTS
        .iter()
        .map(|&(path, rank)| (path, Field::Report(rank)))
        .collect();
    let counts: Vec<_> = COUNTS
        .iter()
        .map(|&(path, count)| (path, Field::Count(count)))
        .collect();
    paths.insert_under(&reports, &counts);
    for &(path, field) in FIELDS {
        paths.insert(path, field);
    }
    paths
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
            // Anthropic; OpenAI Responses; Cohere v2, v1; Gemini interactions.
            b"message_stop"
            | b"response.completed"
            | b"response.incomplete"
            | b"response.failed"
            | b"message-end"
            | b"stream-end"
            | b"interaction.completed" => Self::Last,
            b"error" => Self::Error,
            b"batch" | b"message_batch" => Self::Foreign,
            // OpenAI; Anthropic; Cohere v2; Gemini interactions.
            b"chat.completion"
            | b"chat.completion.chunk"
            | b"text_completion"
            | b"response"
            | b"thread.message.delta"
            | b"completion"
            | b"message"
            | b"message_start"
            | b"content_block_start"
            | b"content_block_delta"
            | b"message-start"
            | b"content-delta"
            | b"tool-plan-delta"
            | b"tool-call-delta"
            | b"interaction"
            | b"step.delta"
            | b"content.delta" => Self::Completion,
            _ if name.starts_with(b"response.") => Self::Event,
            _ => Self::Unknown,
        }
    }
}

/// Ends of the paths at which completions are asked for, without a query.
const COMPLETION_PATHS: &[&str] = &[
    // OpenAI and Azure.
    "/completions",
    "/responses",
    "/embeddings",
    // Anthropic; on Vertex.
    "/messages",
    "/complete",
    ":rawPredict",
    ":streamRawPredict",
    // Gemini and Vertex.
    ":generateContent",
    ":streamGenerateContent",
    ":embedContent",
    ":batchEmbedContents",
    "/interactions",
    // Bedrock.
    "/converse",
    "/converse-stream",
    "/invoke",
    "/invoke-with-response-stream",
    // Cohere; Ollama.
    "/v1/chat",
    "/v2/chat",
    "/api/chat",
    "/api/generate",
    "/api/embed",
];

/// Whether a request to `path` asks for a completion.
#[must_use]
pub fn is_completion_path(path: &[u8]) -> bool {
    let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
    COMPLETION_PATHS
        .iter()
        .any(|end| path.ends_with(end.as_bytes()))
}
