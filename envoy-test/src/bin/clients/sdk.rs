//! The SDKs, and what each of them does with a rejection.

/// An SDK.
#[derive(Debug)]
pub(crate) struct Sdk {
    /// The name in the table.
    pub name: &'static str,
    pub language: Language,
    /// The script, without its extension.
    pub script: &'static str,
    /// The class of the error that a rejection becomes.
    pub error: &'static str,
    /// The requests of a call that an hourly limit rejects.
    pub attempts: usize,
    pub wait: Wait,
}

/// The language of an SDK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Python,
    Node,
}

/// What an SDK does when a limit that rejects is reset soon. Where retries are an option, it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It waits until then, as the rejection says.
    AsRequested,
    /// It retries at times of its own.
    OwnBackoff,
    /// It does not retry.
    None,
}

/// The SDKs, in the order of the table.
pub(crate) const SDKS: [Sdk; 11] = [
    Sdk {
        name: "OpenAI",
        language: Language::Python,
        script: "openai_sdk",
        error: "RateLimitError",
        attempts: 1,
        wait: Wait::AsRequested,
    },
    Sdk {
        name: "Anthropic",
        language: Language::Python,
        script: "anthropic_sdk",
        error: "RateLimitError",
        attempts: 1,
        wait: Wait::AsRequested,
    },
    Sdk {
        name: "Google Gen AI",
        language: Language::Python,
        script: "google_sdk",
        error: "ClientError",
        attempts: 1,
        wait: Wait::OwnBackoff,
    },
    Sdk {
        name: "Mistral",
        language: Language::Python,
        script: "mistral_sdk",
        error: "SDKError",
        attempts: 1,
        wait: Wait::AsRequested,
    },
    Sdk {
        name: "Cohere",
        language: Language::Python,
        script: "cohere_sdk",
        error: "TooManyRequestsError",
        attempts: 3,
        wait: Wait::AsRequested,
    },
    Sdk {
        name: "Ollama",
        language: Language::Python,
        script: "ollama_sdk",
        error: "ResponseError",
        attempts: 1,
        wait: Wait::None,
    },
    Sdk {
        name: "AWS (boto3)",
        language: Language::Python,
        script: "aws_sdk",
        error: "ThrottlingException",
        attempts: 3,
        wait: Wait::AsRequested,
    },
    Sdk {
        name: "LiteLLM",
        language: Language::Python,
        script: "litellm_sdk",
        error: "RateLimitError",
        attempts: 1,
        wait: Wait::AsRequested,
    },
    Sdk {
        name: "OpenAI",
        language: Language::Node,
        script: "openai_sdk",
        error: "RateLimitError",
        attempts: 1,
        wait: Wait::AsRequested,
    },
    Sdk {
        name: "Anthropic",
        language: Language::Node,
        script: "anthropic_sdk",
        error: "RateLimitError",
        attempts: 1,
        wait: Wait::AsRequested,
    },
    Sdk {
        name: "Vercel AI",
        language: Language::Node,
        script: "vercel_sdk",
        error: "AI_RetryError",
        attempts: 3,
        wait: Wait::AsRequested,
    },
];

// === impl Sdk ===

impl Sdk {
    /// Returns a name that is unique among all SDKs, without white space.
    pub(crate) fn id(&self) -> String {
        format!("{}-{}", self.language.name().to_lowercase(), self.script)
    }
}

// === impl Language ===

impl Language {
    /// Returns its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Python => "Python",
            Self::Node => "Node",
        }
    }

    /// Returns the extension of scripts.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Python => "py",
            Self::Node => "mjs",
        }
    }
}
