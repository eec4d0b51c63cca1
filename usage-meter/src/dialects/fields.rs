//! The tables of all dialects: which path has which field.

use super::counts::Count;

/// The meaning of a value on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// An object that reports usage.
    Report(Source),
    /// A number in such an object.
    Count(Count),
    /// An attempt or a step that such an object lists, with numbers of its own.
    Iteration,
    /// A number in an attempt or a step.
    IterationCount(Count),
    /// A number of a report that is not an object of its own. Documents of one response repeat it.
    InlineCount(Count),
    /// A part of such a number, in an element of an array.
    InlinePart(Count),
    /// The tokens of the prompt, listed.
    Prompt,
    /// One of them.
    PromptToken,
    /// A number whose presence means that the inline counts of its document are not a report.
    NoInlineReport,
    /// The model.
    Model,
    /// The identifier of a response that the provider stores.
    ResponseId,
    /// The status of such a response.
    ResponseStatus,
    /// Whether such a response is generated in the background.
    ResponseBackground,
    /// The kind of the document: `type`, `object` or `event_type`.
    Kind,
    /// The choices of an OpenAI completion.
    Choices,
    /// Whether this is the last document of several (Ollama, Cohere).
    Done,
    /// An error.
    Error,
    /// Whether the request succeeded.
    Success,
    /// What only a result of a batch has.
    BatchResult,
    /// The candidates of Gemini.
    Candidates,
    /// A value that only a completion has.
    Completion,
    /// A number at a configured pointer, by the index of the pointer.
    Configured(u8),
}

/// Where a report comes from, in order of precedence: of several reports the first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// The usage object of the API.
    UsageObject,
    /// The usage object at the start of a stream, whose output is a placeholder; a part of the one above.
    StreamStart,
    /// The usage objects of the elements of an array, which are added.
    Elements,
    /// The usage object within an object that wraps the response.
    Wrapped,
    /// Numbers outside a usage object: [`Field::InlineCount`].
    Inline,
    /// An object of statistics, which may have other numbers than those of tokens.
    Statistics,
    /// A usage object within `metadata`, which in other APIs holds what the client chose.
    Metadata,
    /// The platform that runs the model.
    Platform,
    /// The response headers.
    Headers,
    /// What server-side tools used beside all these.
    Tools,
}

// === impl Source ===

impl Source {
    /// Returns the source whose report this one is a part of.
    pub(crate) const fn of_response(self) -> Self {
        match self {
            Self::StreamStart => Self::UsageObject,
            other => other,
        }
    }
}

/// The objects that report usage.
pub(super) const REPORTS: &[(&str, Source)] = &[
    // OpenAI chat, completions, embeddings, Responses, images, audio and assistants, and APIs
    // compatible with it; Anthropic messages; Bedrock Converse; Cohere v2; Gemini interactions.
    ("usage", Source::UsageObject),
    // Groq, streaming.
    ("x_groq.usage", Source::UsageObject),
    // Hunyuan; other names of it.
    ("Usage", Source::UsageObject),
    ("token_usage", Source::UsageObject),
    ("tokenUsage", Source::UsageObject),
    ("usage_metadata", Source::UsageObject),
    // OpenAI Responses, streaming.
    ("response.usage", Source::UsageObject),
    // Moonshot, streaming; several results.
    ("choices[].usage", Source::Elements),
    ("results[].usage", Source::Elements),
    ("responses[].usage", Source::Elements),
    ("outputs[].usage", Source::Elements),
    ("predictions[].usage", Source::Elements),
    ("generations[].usage", Source::Elements),
    // SGLang; LM Studio; Replicate; DeepInfra.
    ("meta_info", Source::Statistics),
    ("stats", Source::Statistics),
    ("metrics", Source::Statistics),
    ("inference_status", Source::Statistics),
    ("results[].meta_info", Source::Elements),
    ("outputs[].meta_info", Source::Elements),
    // PaLM on Vertex.
    ("metadata.tokenMetadata", Source::Metadata),
    // Anthropic, `message_start`.
    ("message.usage", Source::StreamStart),
    // Cohere v2, `message-end`.
    ("delta.usage", Source::UsageObject),
    // Cohere v1; `stream-end`.
    ("meta", Source::UsageObject),
    ("response.meta", Source::UsageObject),
    // Gemini and Vertex; wrapped by Code Assist.
    ("usageMetadata", Source::UsageObject),
    ("response.usageMetadata", Source::UsageObject),
    // Gemini interactions, `interaction.completed`.
    ("interaction.usage", Source::UsageObject),
    // Gemini interactions, in events before the last; Nova on Bedrock, in a stream.
    ("metadata.usage", Source::Metadata),
    // Any model on Bedrock, in a stream.
    ("amazon-bedrock-invocationMetrics", Source::Platform),
    // OpenAI Responses: images that a tool generates.
    ("tool_usage.image_gen", Source::Tools),
    ("response.tool_usage.image_gen", Source::Tools),
];

/// The numbers in such an object.
pub(super) const COUNTS: &[(&str, Count)] = &[
    // OpenAI chat, completions, embeddings, assistants.
    ("prompt_tokens", Count::InputWithCache),
    ("completion_tokens", Count::Output),
    ("total_tokens", Count::Total),
    // Mistral conversations.
    ("connector_tokens", Count::ConnectorInput),
    (
        "prompt_tokens_details.cached_tokens",
        Count::CacheReadIncluded,
    ),
    (
        "prompt_tokens_details.cache_write_tokens",
        Count::CacheWriteIncluded,
    ),
    // DashScope
    (
        "prompt_tokens_details.cache_creation_input_tokens",
        Count::CacheWriteIncluded,
    ),
    (
        "prompt_tokens_details.cache_creation_tokens",
        Count::CacheWriteIncluded,
    ),
    (
        "input_tokens_details.cache_creation_input_tokens",
        Count::CacheWriteIncluded,
    ),
    // Bifrost
    (
        "prompt_tokens_details.cached_read_tokens",
        Count::CacheReadIncluded,
    ),
    (
        "prompt_tokens_details.cached_write_tokens",
        Count::CacheWriteIncluded,
    ),
    (
        "input_tokens_details.cached_read_tokens",
        Count::CacheReadIncluded,
    ),
    (
        "input_tokens_details.cached_write_tokens",
        Count::CacheWriteIncluded,
    ),
    // Mistral
    ("num_cached_tokens", Count::CacheReadIncluded),
    ("prompt_tokens_details.audio_tokens", Count::AudioInput),
    (
        "prompt_token_details.cached_tokens",
        Count::CacheReadIncluded,
    ),
    (
        "completion_tokens_details.reasoning_tokens",
        Count::ReasoningIncluded,
    ),
    ("reasoning_tokens", Count::ReasoningIncluded),
    // DeepSeek; SGLang, Cohere and others.
    ("prompt_cache_hit_tokens", Count::CacheReadIncluded),
    ("cached_tokens", Count::CacheReadIncluded),
    ("cache_read_tokens", Count::CacheReadIncluded),
    ("cache_write_tokens", Count::CacheWriteIncluded),
    // OpenAI Responses, images, audio; Anthropic.
    ("input_tokens", Count::InputWithoutCache),
    ("output_tokens", Count::Output),
    (
        "input_tokens_details.cached_tokens",
        Count::CacheReadIncluded,
    ),
    (
        "input_tokens_details.cache_write_tokens",
        Count::CacheWriteIncluded,
    ),
    (
        "output_tokens_details.reasoning_tokens",
        Count::ReasoningIncluded,
    ),
    (
        "output_tokens_details.thinking_tokens",
        Count::ReasoningIncluded,
    ),
    ("cache_read_input_tokens", Count::CacheReadExtra),
    ("cache_creation_input_tokens", Count::CacheWriteExtra),
    // Gemini and Vertex.
    ("promptTokenCount", Count::InputWithCache),
    ("responseTokenCount", Count::Output),
    ("prompt_token_count", Count::InputWithCache),
    ("candidates_token_count", Count::Output),
    ("total_token_count", Count::SnapshotTotal),
    ("cached_content_token_count", Count::CacheReadIncluded),
    ("tool_use_prompt_token_count", Count::ToolPromptExtra),
    ("thoughts_token_count", Count::ReasoningExtra),
    ("candidatesTokenCount", Count::Output),
    ("totalTokenCount", Count::SnapshotTotal),
    ("cachedContentTokenCount", Count::CacheReadIncluded),
    ("toolUsePromptTokenCount", Count::ToolPromptExtra),
    ("thoughtsTokenCount", Count::ReasoningExtra),
    // Gemini interactions.
    ("total_input_tokens", Count::InputWithCache),
    ("total_output_tokens", Count::Output),
    ("total_cached_tokens", Count::CacheReadIncluded),
    ("total_tool_use_tokens", Count::ToolPromptExtra),
    ("total_thought_tokens", Count::ReasoningExtra),
    // Bedrock Converse; Nova.
    ("inputTokens", Count::InputWithoutCache),
    ("cacheCreationInputTokens", Count::CacheWriteExtra),
    // Names of OpenAI in another notation.
    ("promptTokens", Count::InputWithCache),
    ("completionTokens", Count::Output),
    ("cachedTokens", Count::CacheReadIncluded),
    ("promptTokensDetails.cachedTokens", Count::CacheReadIncluded),
    ("inputTokensDetails.cachedTokens", Count::CacheReadIncluded),
    (
        "completionTokensDetails.reasoningTokens",
        Count::ReasoningIncluded,
    ),
    (
        "outputTokensDetails.reasoningTokens",
        Count::ReasoningIncluded,
    ),
    ("reasoningTokens", Count::ReasoningIncluded),
    // Hunyuan.
    ("PromptTokens", Count::InputWithCache),
    ("CompletionTokens", Count::Output),
    ("TotalTokens", Count::Total),
    // Yandex.
    ("inputTextTokens", Count::InputWithCache),
    // Coze.
    ("input_count", Count::InputWithCache),
    ("output_count", Count::Output),
    ("token_count", Count::Total),
    // LM Studio.
    ("reasoning_output_tokens", Count::ReasoningIncluded),
    // Replicate; watsonx.
    ("input_token_count", Count::InputWithCache),
    ("output_token_count", Count::Output),
    ("token_input_count", Count::InputWithCache),
    ("token_output_count", Count::Output),
    ("generated_token_count", Count::Output),
    // DeepInfra.
    ("tokens_input", Count::InputWithCache),
    ("tokens_generated", Count::Output),
    // Spark.
    ("text.prompt_tokens", Count::InputWithCache),
    ("text.completion_tokens", Count::Output),
    ("text.total_tokens", Count::Total),
    // PaLM on Vertex.
    ("inputTokenCount.totalTokens", Count::InputWithCache),
    ("outputTokenCount.totalTokens", Count::Output),
    ("outputTokens", Count::Output),
    ("totalTokens", Count::Total),
    ("cacheReadInputTokens", Count::CacheReadExtra),
    ("cacheWriteInputTokens", Count::CacheWriteExtra),
    ("cacheReadInputTokenCount", Count::CacheReadExtra),
    ("cacheWriteInputTokenCount", Count::CacheWriteExtra),
    // Bedrock's own metrics.
    ("inputTokenCount", Count::InputWithoutCache),
    ("outputTokenCount", Count::Output),
    // Cohere.
    ("tokens.input_tokens", Count::InputWithCache),
    ("tokens.output_tokens", Count::Output),
    ("billed_units.input_tokens", Count::BilledInput),
    ("billed_units.image_tokens", Count::BilledImages),
    ("billed_units.output_tokens", Count::BilledOutput),
];

/// The lists of attempts and steps in such an object: Anthropic, for compaction, advisors and fallbacks;
/// applications of DashScope, by model.
pub(super) const ITERATIONS: &[&str] = &["iterations", "models"];

/// The numbers in an attempt or a step.
pub(super) const ITERATION_COUNTS: &[(&str, Count)] = &[
    ("input_tokens", Count::InputWithoutCache),
    ("output_tokens", Count::Output),
    ("cache_read_input_tokens", Count::CacheReadExtra),
    ("cache_creation_input_tokens", Count::CacheWriteExtra),
];

/// All other fields.
pub(super) const FIELDS: &[(&str, Field)] = &[
    // Ollama.
    (
        "prompt_eval_count",
        Field::InlineCount(Count::InputWithCache),
    ),
    (
        "prompt_eval_cached_count",
        Field::InlineCount(Count::CacheReadIncluded),
    ),
    ("eval_count", Field::InlineCount(Count::Output)),
    // Llama on Bedrock.
    (
        "prompt_token_count",
        Field::InlineCount(Count::InputWithCache),
    ),
    ("generation_token_count", Field::InlineCount(Count::Output)),
    // Titan on Bedrock; its streams report as Bedrock does.
    (
        "inputTextTokenCount",
        Field::InlineCount(Count::InputWithCache),
    ),
    ("results[].tokenCount", Field::InlinePart(Count::Output)),
    ("totalOutputTextTokenCount", Field::NoInlineReport),
    // watsonx.
    (
        "results[].input_token_count",
        Field::InlinePart(Count::InputWithCache),
    ),
    (
        "results[].generated_token_count",
        Field::InlinePart(Count::Output),
    ),
    (
        "input_token_count",
        Field::InlineCount(Count::InputWithCache),
    ),
    // Aleph Alpha.
    (
        "num_tokens_prompt_total",
        Field::InlineCount(Count::InputWithCache),
    ),
    ("num_tokens_generated", Field::InlineCount(Count::Output)),
    // Text Generation Inference; llama.cpp.
    (
        "details.input_length",
        Field::InlineCount(Count::InputWithCache),
    ),
    (
        "details.generated_tokens",
        Field::InlineCount(Count::Output),
    ),
    ("details.prefill", Field::Prompt),
    (
        "tokens_evaluated",
        Field::InlineCount(Count::InputWithCache),
    ),
    ("tokens_predicted", Field::InlineCount(Count::Output)),
    // DeepInfra; NLP Cloud; embeddings of Yandex.
    (
        "num_input_tokens",
        Field::InlineCount(Count::InputWithCache),
    ),
    ("num_output_tokens", Field::InlineCount(Count::Output)),
    ("num_tokens", Field::InlineCount(Count::Output)),
    ("nb_input_tokens", Field::InlineCount(Count::InputWithCache)),
    ("nb_generated_tokens", Field::InlineCount(Count::Output)),
    ("numTokens", Field::InlineCount(Count::InputWithCache)),
    // Embeddings on Vertex.
    (
        "predictions[].embeddings.statistics.token_count",
        Field::InlinePart(Count::InputWithCache),
    ),
    ("model", Field::Model),
    ("modelVersion", Field::Model),
    ("model_id", Field::Model),
    ("response.model", Field::Model),
    ("response.modelVersion", Field::Model),
    ("message.model", Field::Model),
    ("interaction.model", Field::Model),
    ("id", Field::ResponseId),
    ("response.id", Field::ResponseId),
    ("interaction.id", Field::ResponseId),
    ("status", Field::ResponseStatus),
    ("response.status", Field::ResponseStatus),
    ("interaction.status", Field::ResponseStatus),
    ("background", Field::ResponseBackground),
    ("response.background", Field::ResponseBackground),
    ("interaction.background", Field::ResponseBackground),
    ("type", Field::Kind),
    ("object", Field::Kind),
    ("event_type", Field::Kind),
    ("choices", Field::Choices),
    ("done", Field::Done),
    ("is_finished", Field::Done),
    ("error", Field::Error),
    ("errors", Field::Error),
    ("success", Field::Success),
    ("error_code", Field::Error),
    // MiniMax; Spark.
    ("base_resp.status_code", Field::Error),
    ("header.code", Field::Error),
    ("custom_id", Field::BatchResult),
    // Embeddings: OpenAI, Cohere and Gemini, Titan, Vertex.
    ("data[].embedding", Field::Completion),
    ("embeddings", Field::Completion),
    ("embedding", Field::Completion),
    ("predictions[].embeddings", Field::Completion),
    // PaLM on Vertex.
    ("predictions[].content", Field::Completion),
    // Gemini.
    ("candidates", Field::Candidates),
    ("response.candidates", Field::Candidates),
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
    // Triton; Yandex; SGLang; LM Studio; llama.cpp.
    ("text_output", Field::Completion),
    ("alternatives", Field::Completion),
    ("output_ids", Field::Completion),
    ("meta_info.finish_reason", Field::Completion),
    ("model_instance_id", Field::Completion),
];
