//! The format of errors, and the style of quota headers, by the API that is called.

use crate::host::Host;
use filter_config::{ErrorFormatSetting, QuotaHeaders};
use usage_meter::request::Endpoint;

/// The prefix of the user agent of Mistral's SDKs, by which they are recognized: its API has the paths of `OpenAI`.
const MISTRAL_CLIENT: &[u8] = b"mistral-client";

/// The format of an error, named after the API that defines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorFormat {
    OpenAi,
    Anthropic,
    /// Gemini and Vertex.
    Gemini,
    Bedrock,
    /// Anthropic's models on Bedrock: both its own SDK and those of AWS can read it.
    AnthropicOnBedrock,
    Ollama,
    Cohere,
    Mistral,
}

// === impl ErrorFormat ===

impl ErrorFormat {
    /// Returns the configured format, or that of the API that is called.
    pub(super) fn of(
        setting: ErrorFormatSetting,
        endpoint: Option<&Endpoint>,
        host: &dyn Host,
    ) -> Self {
        let is_anthropic = endpoint.is_some_and(|endpoint| endpoint.is_anthropic);
        match setting {
            ErrorFormatSetting::OpenAi => Self::OpenAi,
            ErrorFormatSetting::Anthropic => Self::Anthropic,
            ErrorFormatSetting::Gemini => Self::Gemini,
            ErrorFormatSetting::Bedrock if is_anthropic => Self::AnthropicOnBedrock,
            ErrorFormatSetting::Bedrock => Self::Bedrock,
            ErrorFormatSetting::Ollama => Self::Ollama,
            ErrorFormatSetting::Cohere => Self::Cohere,
            ErrorFormatSetting::Mistral => Self::Mistral,
            ErrorFormatSetting::Auto => match endpoint.map(|endpoint| endpoint.provider) {
                Some("bedrock") if is_anthropic => Self::AnthropicOnBedrock,
                Some("bedrock") => Self::Bedrock,
                _ if is_anthropic => Self::Anthropic,
                Some("gemini" | "vertex") => Self::Gemini,
                Some("ollama") => Self::Ollama,
                Some("cohere") => Self::Cohere,
                _ if is_mistral_client(host) => Self::Mistral,
                _ => Self::OpenAi,
            },
        }
    }
}

/// Returns the configured style of quota headers; with [`QuotaHeaders::Auto`], that of the API that is called.
pub(super) fn style<'a>(
    configured: &'a QuotaHeaders,
    endpoint: Option<&Endpoint>,
) -> &'a QuotaHeaders {
    if *configured != QuotaHeaders::Auto {
        return configured;
    }
    match endpoint {
        Some(endpoint) if endpoint.is_anthropic => &QuotaHeaders::Anthropic,
        Some(endpoint) if matches!(endpoint.provider, "openai" | "azure") => &QuotaHeaders::OpenAi,
        _ => &QuotaHeaders::Ietf,
    }
}

fn is_mistral_client(host: &dyn Host) -> bool {
    let agent = host.property(&["request", "useragent"]);
    agent.is_ok_and(|agent| agent.is_some_and(|agent| agent.starts_with(MISTRAL_CLIENT)))
}
