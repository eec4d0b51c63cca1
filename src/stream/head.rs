//! What the headers of a request or a response say of the message as a whole.

use crate::host::Headers;

/// Returns the status of a response; 0 when it has none that can be read.
pub(super) fn status(headers: &Headers) -> u16 {
    headers
        .get(":status")
        .and_then(|status| str::from_utf8(status).ok()?.parse().ok())
        .unwrap_or_default()
}

/// Returns the length of a body, where its headers say it.
pub(super) fn content_length(headers: &Headers) -> Option<u64> {
    let length = headers.get("content-length")?;
    str::from_utf8(length).ok()?.trim().parse().ok()
}

/// Returns whether a body is compressed or otherwise encoded.
pub(super) fn is_encoded(headers: &Headers) -> bool {
    headers
        .all("content-encoding")
        .any(|coding| !coding.trim_ascii().eq_ignore_ascii_case(b"identity"))
}

/// Returns whether a body is JSON, or may be, for all that its headers say.
pub(super) fn is_json(headers: &Headers) -> bool {
    headers.get("content-type").is_none_or(|kind| {
        let mut parts = kind.windows(4);
        parts.any(|part| part.eq_ignore_ascii_case(b"json"))
    })
}

/// Returns whether a body can be read: it is JSON, or may be, or it is a form.
pub(super) fn is_readable(headers: &Headers) -> bool {
    is_json(headers) || has_type(headers, &["multipart/form-data"])
}

/// Returns whether a body as a whole is an image or another medium rather than text.
pub(super) fn is_part(headers: &Headers) -> bool {
    has_type(
        headers,
        &[
            "image/",
            "audio/",
            "video/",
            "application/octet-stream",
            "application/pdf",
        ],
    )
}

/// Returns whether the content type of a body begins like one of these.
fn has_type(headers: &Headers, types: &[&str]) -> bool {
    headers.get("content-type").is_some_and(|kind| {
        let begins = |with: &&str| {
            kind.get(..with.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()))
        };
        types.iter().any(begins)
    })
}

/// Returns whether a request says that it is a call of gRPC.
pub(super) fn is_grpc(headers: &Headers) -> bool {
    headers
        .get("content-type")
        .is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

/// Returns whether a request is a CORS preflight, which browsers send without credentials (Fetch, section 3.3.2).
pub(super) fn is_preflight(headers: &Headers) -> bool {
    headers.get(":method") == Some(b"OPTIONS")
        && headers.get("origin").is_some()
        && headers.get("access-control-request-method").is_some()
}

/// Returns whether a request asks for another protocol, so that its body is none: a WebSocket, by HTTP/1.1
/// (RFC 6455) or HTTP/2 (RFC 8441), or a tunnel. A POST that says so is read like any other: the
/// upstream may well ignore the wish.
pub(super) fn is_upgrade(headers: &Headers) -> bool {
    match headers.get(":method") {
        Some(b"CONNECT") => true,
        Some(b"GET") => headers.get("upgrade").is_some(),
        _ => false,
    }
}
