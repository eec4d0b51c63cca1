//! The request's body, as far as expressions can read it.

use super::value::{Value, from_json};

/// What is known of the request's body.
#[derive(Debug)]
pub(crate) enum Body {
    /// It has not arrived yet.
    Pending,
    /// There is none, or it is not JSON: every field of it is absent.
    Opaque,
    /// It is JSON.
    Json(Value),
    /// It is present but cannot be read, so that its fields are unknown rather than absent.
    Unreadable(BodyError),
}

/// Why a body that may well be JSON cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    /// It is larger than what is buffered for inspection.
    #[error("larger than requestBody.maxBytes ({0})")]
    TooLarge(usize),
    /// It is compressed.
    #[error("it has a content-encoding")]
    Encoded,
    /// It should be JSON, or begins like it, and cannot be parsed. A server may be more lenient.
    #[error("not JSON")]
    Malformed,
    /// It had not arrived when the upstream answered.
    #[error("the response began before its end")]
    Unfinished,
}

// === impl Body ===

impl Body {
    /// Parses a body that the request's headers call JSON or not. A byte order mark before the JSON
    /// is skipped, as servers do.
    #[must_use]
    pub(crate) fn parse(bytes: &[u8], is_json: bool) -> Self {
        let json = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        // serde_json rejects what nests too deep for its stack.
        match serde_json::from_slice(json) {
            Ok(json) => Self::Json(from_json(json)),
            Err(_) => Self::unparsed(bytes, is_json),
        }
    }

    /// Returns the body for expressions that read none of its fields, without parsing it.
    #[must_use]
    pub(crate) fn unread(bytes: &[u8], is_json: bool) -> Self {
        if begins_like_json(bytes) {
            Self::Opaque
        } else {
            Self::unparsed(bytes, is_json)
        }
    }

    /// Returns a body that is not JSON: unreadable only if it should be JSON.
    fn unparsed(bytes: &[u8], is_json: bool) -> Self {
        let is_empty = bytes.trim_ascii().is_empty();
        if !is_empty && (is_json || begins_like_json(bytes)) {
            Self::Unreadable(BodyError::Malformed)
        } else {
            Self::Opaque
        }
    }

    /// Returns whether the body has not arrived yet.
    #[must_use]
    pub(crate) const fn is_pending(&self) -> bool {
        matches!(self, Self::Pending)
    }

    /// Checks that absent fields are absent rather than unknown.
    ///
    /// # Errors
    /// [`BodyError`] when the body is present and cannot be read.
    pub(super) fn check_readable(&self) -> Result<(), BodyError> {
        match self {
            Self::Unreadable(error) => Err(*error),
            _ => Ok(()),
        }
    }

    pub(super) fn value(&self) -> Option<&Value> {
        match self {
            Self::Json(value) => Some(value),
            _ => None,
        }
    }
}

/// UTF-8's byte order mark.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Returns whether bytes begin like a JSON object or array.
fn begins_like_json(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['))
}
