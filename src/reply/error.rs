//! Error bodies in the shape of the API that was called.

use filter_config::ErrorShape;
use usage_meter::request::Endpoint;

/// Why a request is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorKind {
    /// A limit rejects it, which counts in this unit.
    Limited(&'static str),
    /// Its model has no price.
    Unpriced,
    /// Its body is malformed.
    Invalid,
    /// The worker has no memory left for it.
    Overloaded,
    /// Its policy cannot be evaluated.
    Failed,
}

/// Returns the body of an error with a message and status.
#[cold]
pub(super) fn body(
    shape: ErrorShape,
    endpoint: Option<&Endpoint>,
    kind: ErrorKind,
    message: &str,
    status: u16,
) -> String {
    let message = text(message);
    match (shape, endpoint.map(|endpoint| endpoint.provider)) {
        (ErrorShape::Anthropic, _) | (ErrorShape::Auto, Some("anthropic")) => {
            let kind = match kind {
                ErrorKind::Limited(_) => "rate_limit_error",
                ErrorKind::Unpriced => "permission_error",
                ErrorKind::Invalid => "invalid_request_error",
                ErrorKind::Overloaded => "overloaded_error",
                ErrorKind::Failed => "api_error",
            };
            format!(r#"{{"type":"error","error":{{"type":"{kind}","message":{message}}}}}"#)
        }
        (ErrorShape::Gemini, _) | (ErrorShape::Auto, Some("gemini" | "vertex")) => {
            // gRPC's names of the status codes.
            let name = match kind {
                ErrorKind::Limited(_) => "RESOURCE_EXHAUSTED",
                ErrorKind::Unpriced => "PERMISSION_DENIED",
                ErrorKind::Invalid => "INVALID_ARGUMENT",
                ErrorKind::Overloaded => "UNAVAILABLE",
                ErrorKind::Failed => "INTERNAL",
            };
            format!(r#"{{"error":{{"code":{status},"message":{message},"status":"{name}"}}}}"#)
        }
        _ => {
            let (kind, code) = match kind {
                ErrorKind::Limited(unit) => (unit, "rate_limit_exceeded"),
                ErrorKind::Unpriced => ("invalid_request_error", "model_not_priced"),
                ErrorKind::Invalid => ("invalid_request_error", "invalid_json"),
                ErrorKind::Overloaded => ("server_error", "overloaded"),
                ErrorKind::Failed => ("server_error", "rate_limit_unavailable"),
            };
            format!(
                r#"{{"error":{{"code":"{code}","message":{message},"param":null,"type":"{kind}"}}}}"#
            )
        }
    }
}

/// Returns a text as a JSON string, with its quotes.
pub(super) fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
