//! The request paths of completions.

/// Suffixes of the paths, without a query, whose responses are completions.
const SUFFIXES: &[&str] = &[
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

/// Returns whether the response to a request with this path is a completion.
pub(crate) fn is_completion_path(path: &[u8]) -> bool {
    let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
    SUFFIXES
        .iter()
        .any(|suffix| path.ends_with(suffix.as_bytes()))
}
