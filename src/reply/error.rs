//! Errors in the shape that a caller's client reads.

use filter_config::ErrorShape;
use usage_meter::request::path::Target;

/// What goes wrong with a request that is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A limit refuses it, on what is counted in this unit.
    Limited(&'static str),
    /// Its model has no price.
    Unpriced,
    /// Its policy cannot be evaluated.
    Failed,
}

/// The body of an error with this message and status.
#[cold]
pub(super) fn body(
    shape: ErrorShape,
    target: Option<&Target>,
    kind: Kind,
    message: &str,
    status: u16,
) -> String {
    let message = text(message);
    match (shape, target.map(|target| target.provider)) {
        (ErrorShape::Anthropic, _) | (ErrorShape::Auto, Some("anthropic")) => {
            let kind = match kind {
                Kind::Limited(_) => "rate_limit_error",
                Kind::Unpriced => "permission_error",
                Kind::Failed => "api_error",
            };
            format!(r#"{{"type":"error","error":{{"type":"{kind}","message":{message}}}}}"#)
        }
        (ErrorShape::Gemini, _) | (ErrorShape::Auto, Some("gemini" | "vertex")) => {
            // The names of gRPC's codes.
            let name = match kind {
                Kind::Limited(_) => "RESOURCE_EXHAUSTED",
                Kind::Unpriced => "PERMISSION_DENIED",
                Kind::Failed => "INTERNAL",
            };
            format!(r#"{{"error":{{"code":{status},"message":{message},"status":"{name}"}}}}"#)
        }
        _ => {
            let (kind, code) = match kind {
                Kind::Limited(unit) => (unit, "rate_limit_exceeded"),
                Kind::Unpriced => ("invalid_request_error", "model_not_priced"),
                Kind::Failed => ("server_error", "rate_limit_unavailable"),
            };
            format!(
                r#"{{"error":{{"code":"{code}","message":{message},"param":null,"type":"{kind}"}}}}"#
            )
        }
    }
}

/// A text as a string of JSON, with its quotes.
pub(super) fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
