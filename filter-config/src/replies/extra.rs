//! `replies.extra`: headers of every reply that the filter itself sends.

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::json::Json;
use crate::path::Path;
use crate::reader;
use crate::values;

/// Headers that describe the connection, or that the filter itself decides on.
const RESERVED: [&str; 15] = [
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
    let entries = reader::entries(json, path, errors)?;
    let max = bounds::REPLY_EXTRA_HEADERS;
    reader::at_most(entries.len(), "headers", max, path, errors)?;
    let mut headers: Vec<(String, String)> = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        let path = path.field(name);
        let name = header_name(name, &path, errors);
        let value = values::header_value(value, bounds::HEADER_VALUE_BYTES, &path, errors);
        let (Ok(name), Ok(value)) = (name, value) else {
            continue;
        };
        if headers.iter().any(|(known, _)| *known == name) {
            errors.push(&path, ErrorKind::DuplicateField);
        }
        headers.push((name, value));
    }
    Ok(headers)
}

fn header_name(
    name: &str,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<String, Invalid> {
    reader::at_most(name.len(), "bytes", bounds::HEADER_NAME_BYTES, path, errors)?;
    let name = values::header_name(name, path, errors)?;
    if name.starts_with("content-") || RESERVED.contains(&name.as_str()) {
        let message = "reserved header name, expected one that does not describe the body, the connection or the retry";
        return Err(errors.push(path, ErrorKind::Malformed(message)));
    }
    Ok(name)
}
