//! Errors in the format of the API that is called.

use super::format::ErrorFormat;
use limits::Nanos;

/// Why a request is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorKind {
    /// A limit rejects it, which counts in this unit.
    Limited(&'static str),
    /// A budget or another quota is exhausted.
    Exhausted,
    /// It has no identity that a limit counts by.
    Unauthenticated,
    /// A rule of access does not allow its model.
    Forbidden,
    /// Its model has no price.
    Unpriced,
    /// Its body is malformed.
    Invalid,
    /// Its tokens cannot be bounded.
    Uncapped,
    /// The worker has no memory left for it.
    Overloaded,
    /// Its policy cannot be evaluated.
    Failed,
}

/// An error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Error<'a> {
    pub(super) kind: ErrorKind,
    /// The code, where it is not that of the kind.
    pub(super) code: Option<&'a str>,
    pub(super) message: &'a str,
    /// The status of the reply.
    pub(super) status: u16,
    /// The time after which clients are to retry, if they are.
    pub(super) retry: Option<Nanos>,
}

// === impl Error ===

impl Error<'_> {
    /// Returns the body in a format.
    #[cold]
    pub(super) fn body(&self, format: ErrorFormat) -> String {
        let message = text(self.message);
        match format {
            ErrorFormat::OpenAi => {
                let error = self.openai_error(&message);
                format!(r#"{{"error":{error}}}"#)
            }
            ErrorFormat::Anthropic => {
                let kind = self.kind.anthropic();
                format!(r#"{{"type":"error","error":{{"type":"{kind}","message":{message}}}}}"#)
            }
            ErrorFormat::Gemini => {
                let (status, name) = (self.status, self.kind.grpc());
                let details = self.retry.map(retry_info).unwrap_or_default();
                format!(
                    r#"{{"error":{{"code":{status},"message":{message},"status":"{name}"{details}}}}}"#
                )
            }
            ErrorFormat::Bedrock | ErrorFormat::Cohere => format!(r#"{{"message":{message}}}"#),
            ErrorFormat::AnthropicOnBedrock => {
                let kind = self.kind.anthropic();
                format!(
                    r#"{{"type":"error","error":{{"type":"{kind}","message":{message}}},"message":{message}}}"#
                )
            }
            ErrorFormat::Ollama => format!(r#"{{"error":{message}}}"#),
            ErrorFormat::Mistral => {
                let (kind, code) = self.openai();
                format!(
                    r#"{{"object":"error","message":{message},"type":"{kind}","param":null,"code":"{code}"}}"#
                )
            }
            ErrorFormat::OpenAiAndMistral => {
                let (kind, code) = self.openai();
                let error = self.openai_error(&message);
                format!(
                    r#"{{"error":{error},"object":"error","message":{message},"type":"{kind}","param":null,"code":"{code}"}}"#
                )
            }
        }
    }

    /// Returns the object in an error of `OpenAI`, with a message in JSON.
    fn openai_error(&self, message: &str) -> String {
        let (kind, code) = self.openai();
        format!(r#"{{"code":"{code}","message":{message},"param":null,"type":"{kind}"}}"#)
    }

    /// Returns the type and the code.
    fn openai(&self) -> (&str, &str) {
        let (kind, code) = self.kind.openai();
        (kind, self.code.unwrap_or(code))
    }

    /// Returns the header that names the error in a format, if it has one.
    pub(super) const fn header(&self, format: ErrorFormat) -> Option<(&'static str, &'static str)> {
        if format.is_aws() {
            Some(("x-amzn-errortype", self.kind.aws()))
        } else {
            None
        }
    }
}

// === impl ErrorKind ===

impl ErrorKind {
    /// Returns the type and the code.
    const fn openai(self) -> (&'static str, &'static str) {
        match self {
            Self::Limited(unit) => (unit, "rate_limit_exceeded"),
            Self::Exhausted => ("insufficient_quota", "insufficient_quota"),
            Self::Unauthenticated => ("invalid_request_error", "invalid_api_key"),
            Self::Forbidden => ("invalid_request_error", "model_not_allowed"),
            Self::Unpriced => ("invalid_request_error", "model_not_priced"),
            Self::Invalid => ("invalid_request_error", "invalid_json"),
            Self::Uncapped => ("invalid_request_error", "request_not_bounded"),
            Self::Overloaded => ("server_error", "overloaded"),
            Self::Failed => ("server_error", "rate_limit_unavailable"),
        }
    }

    const fn anthropic(self) -> &'static str {
        match self {
            Self::Limited(_) | Self::Exhausted => "rate_limit_error",
            Self::Unauthenticated => "authentication_error",
            Self::Forbidden | Self::Unpriced => "permission_error",
            Self::Invalid | Self::Uncapped => "invalid_request_error",
            Self::Overloaded => "overloaded_error",
            Self::Failed => "api_error",
        }
    }

    /// Returns gRPC's name of the status code.
    const fn grpc(self) -> &'static str {
        match self {
            Self::Limited(_) | Self::Exhausted => "RESOURCE_EXHAUSTED",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden | Self::Unpriced => "PERMISSION_DENIED",
            Self::Invalid | Self::Uncapped => "INVALID_ARGUMENT",
            Self::Overloaded => "UNAVAILABLE",
            Self::Failed => "INTERNAL",
        }
    }

    /// Returns the exception of the Bedrock runtime.
    const fn aws(self) -> &'static str {
        match self {
            Self::Limited(_) | Self::Exhausted => "ThrottlingException",
            Self::Unauthenticated | Self::Forbidden | Self::Unpriced => "AccessDeniedException",
            Self::Invalid | Self::Uncapped => "ValidationException",
            Self::Overloaded => "ServiceUnavailableException",
            Self::Failed => "InternalServerException",
        }
    }
}

/// Returns the member with `google.rpc.RetryInfo`, which Google's clients read instead of `retry-after`.
fn retry_info(after: Nanos) -> String {
    let milliseconds = after.as_u64().div_ceil(Nanos::MILLISECOND.as_u64());
    let (seconds, rest) = (milliseconds / 1_000, milliseconds % 1_000);
    let fraction = match rest {
        0 => String::new(),
        rest => format!(".{rest:03}"),
    };
    format!(
        r#","details":[{{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"{seconds}{fraction}s"}}]"#
    )
}

/// Returns a text as a JSON string, with its quotes.
pub(super) fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
