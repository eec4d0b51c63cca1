//! The request paths of completions.

use memchr::memmem;

/// Suffixes of the paths, without a query, whose responses are completions.
const SUFFIXES: &[&str] = &[
    // OpenAI and Azure.
    "/completions",
    "/responses",
    "/embeddings",
    "/audio/transcriptions",
    "/audio/translations",
    // Anthropic; on Vertex.
    "/messages",
    "/v1/complete",
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
    "/v1/generate",
    "/v1/embed",
    "/v2/embed",
    // llama.cpp and Yandex; SGLang, Triton and Text Generation Inference; text-embeddings-inference.
    "/completion",
    "/generate",
    "/generate_stream",
    "/infer",
    "/infill",
    "/embedding",
    "/embed",
    // Replicate; SenseNova; Coze; Mistral; DashScope; SageMaker and Databricks; watsonx.
    "/predictions",
    "/chat-completions",
    "/v3/chat",
    "/conversations",
    "/generation",
    "/invocations",
    "/text/generation_stream",
    "/text/chat",
    "/text/chat_stream",
    // OCI; Dify.
    "/actions/chat",
    "/chat-messages",
    "/completion-messages",
];

/// Parts of such paths that precede the name of the model: Workers AI, DeepInfra.
const PREFIXES: &[&[u8]] = &[b"/ai/run/", b"/v1/inference/"];

/// Returns whether the response to a request with this path is a completion.
pub(crate) fn is_completion_path(path: &[u8]) -> bool {
    let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
    let has_suffix = SUFFIXES
        .iter()
        .any(|suffix| path.ends_with(suffix.as_bytes()));
    has_suffix
        || PREFIXES
            .iter()
            .any(|prefix| memmem::find(path, prefix).is_some())
}
