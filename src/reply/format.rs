//! The format of errors, and the style of quota headers, by the API that is called.

use crate::host::Host;
use filter_config::{ErrorFormatSetting, QuotaHeaders};
use usage_meter::request::{Endpoint, mistral};

/// How the user agent of Vercel's AI SDK begins where it names no provider: it may expect `OpenAI`'s API or Mistral's.
const VERCEL: &[u8] = b"ai/";

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
    /// That of `OpenAI` and that of Mistral in one: either SDK can read it.
    OpenAiAndMistral,
}

// === impl ErrorFormat ===

impl ErrorFormat {
    /// Returns whether the SDKs of AWS expect it.
    pub(super) const fn is_aws(self) -> bool {
        matches!(self, Self::Bedrock | Self::AnthropicOnBedrock)
    }

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
                _ => Self::of_client(host),
            },
        }
    }

    /// Returns the format of an API with the paths of `OpenAI`. Clients of Mistral's are known by their `user-agent`.
    fn of_client(host: &dyn Host) -> Self {
        let agent = host.property(&["request", "useragent"]);
        let agent = agent.ok().flatten().unwrap_or_default();
        if mistral::is_client(&agent) {
            Self::Mistral
        } else if agent.starts_with(VERCEL) {
            Self::OpenAiAndMistral
        } else {
            Self::OpenAi
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
