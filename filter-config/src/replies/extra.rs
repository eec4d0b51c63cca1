//! `replies.extra`: headers of every reply that the filter itself sends.

use crate::bounds;
use crate::error::{Invalid, ValidationErrors};
use crate::json::Json;
use crate::path::Path;
use crate::values;

/// Headers that describe the connection, or that the filter itself decides on.
pub(crate) const RESERVED: [&str; 16] = [
    "connection",
    "grpc-message",
    "grpc-status",
    "host",
    "keep-alive",
    "proxy-connection",
    "retry-after",
    "retry-after-ms",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-amz-retry-after",
    "x-amzn-errortype",
    "x-envoy-ratelimited",
    "x-should-retry",
];

/// Reads headers, by their names.
pub(super) fn read(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Vec<(String, String)>, Invalid> {
    values::headers(json, bounds::REPLY_EXTRA_HEADERS, reserved, path, errors)
}

/// Returns the message on the name of a header that cannot be set.
fn reserved(name: &str) -> Option<&'static str> {
    let is_reserved = name.starts_with("content-") || RESERVED.contains(&name);
    is_reserved.then_some(
        "reserved header name, expected one that does not describe the body, the connection or the retry",
    )
}
