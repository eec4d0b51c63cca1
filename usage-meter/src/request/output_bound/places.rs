//! Where each API has the bound on output.

use crate::request::endpoint::Endpoint;

/// The keys that lead to a value in a body.
pub(super) type Keys = &'static [&'static str];

/// Models of OpenAI that reject `max_tokens`, by the beginning of their names.
const COMPLETION_TOKENS_MODELS: [&str; 4] = ["o1", "o3", "o4", "gpt-5"];

/// Returns where an API has the bound on output; `None` for an API whose bound is not known.
pub(super) fn places(endpoint: &Endpoint, model: Option<&str>) -> Option<&'static [Keys]> {
    const MAX_TOKENS: &[Keys] = &[&["max_tokens"]];
    const CHAT: &[Keys] = &[&["max_tokens"], &["max_completion_tokens"]];
    const COMPLETION_TOKENS: &[Keys] = &[&["max_completion_tokens"], &["max_tokens"]];
    let model = model.unwrap_or_default();
    Some(match (endpoint.provider, endpoint.api) {
        ("openai" | "azure", "chat_completions") if takes_completion_tokens(model) => {
            COMPLETION_TOKENS
        }
        ("openai" | "azure", "chat_completions") => CHAT,
        ("openai" | "azure", "responses") => &[&["max_output_tokens"]],
        ("openai" | "azure", "completions")
        | ("anthropic", "messages")
        | ("vertex", "raw_predict")
        | ("cohere", "chat" | "generate") => MAX_TOKENS,
        ("gemini" | "vertex", "generate_content") => &[
            &["generationConfig", "maxOutputTokens"],
            &["generationConfig", "max_output_tokens"],
            &["generation_config", "maxOutputTokens"],
            &["generation_config", "max_output_tokens"],
        ],
        ("bedrock", "converse") => &[&["inferenceConfig", "maxTokens"]],
        ("bedrock", "invoke") => of_bedrock(model)?,
        ("ollama", "chat" | "generate") => &[&["options", "num_predict"]],
        _ => return None,
    })
}

/// Returns whether a model takes `max_completion_tokens` only.
fn takes_completion_tokens(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or_default();
    COMPLETION_TOKENS_MODELS
        .iter()
        .any(|start| name.starts_with(start))
}

/// Returns where a model of Bedrock's `InvokeModel` has the bound: each vendor's are like its own API.
fn of_bedrock(model: &str) -> Option<&'static [Keys]> {
    let has = |vendor: &str| model.contains(vendor);
    if ["anthropic.", "mistral.", "cohere.", "ai21.", "openai."]
        .into_iter()
        .any(has)
    {
        Some(&[&["max_tokens"]])
    } else if has("meta.") {
        Some(&[&["max_gen_len"]])
    } else if has("amazon.nova") {
        Some(&[
            &["inferenceConfig", "max_new_tokens"],
            &["inferenceConfig", "maxTokens"],
        ])
    } else if has("amazon.titan") {
        Some(&[&["textGenerationConfig", "maxTokenCount"]])
    } else {
        None
    }
}
