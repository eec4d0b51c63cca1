//! The request's body, as far as expressions can read it.

use super::Value;
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use std::collections::HashMap;

/// What is known of the request's body.
#[derive(Debug)]
pub enum Body {
    /// It is still to come.
    Pending,
    /// There is none, or it is no JSON: nothing can be found in it.
    Opaque,
    /// It is JSON.
    Json(Value),
    /// It is there but cannot be read, so that what it asks for stays unknown.
    Unreadable(BodyError),
}

/// Why a body that may well be JSON cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is larger than what is held for inspection.
    #[error("larger than requestBody.maxBytes ({0})")]
    TooLarge(usize),
    /// It is compressed.
    #[error("it has a content-encoding")]
    Encoded,
    /// It should be JSON, or looks like it, and is none that can be read. A server may be more lenient.
    #[error("not JSON")]
    Malformed,
    /// It has not arrived when the upstream answered.
    #[error("the response began before its end")]
    Unfinished,
}

impl Body {
    /// The body that these bytes are, which the request's headers call JSON or not. A byte order
    /// mark before the JSON is skipped, as servers do.
    #[must_use]
    pub fn read(bytes: &[u8], is_json: bool) -> Self {
        let json = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        // serde_json refuses what nests too deep for its stack.
        match serde_json::from_slice(json) {
            Ok(json) => Self::Json(value(json)),
            Err(_) => Self::unparsed(bytes, is_json),
        }
    }

    /// The same, where nothing is to be read of it but what a scan has found already.
    #[must_use]
    pub fn glance(bytes: &[u8], is_json: bool) -> Self {
        if looks_like_json(bytes) {
            Self::Opaque
        } else {
            Self::unparsed(bytes, is_json)
        }
    }

    /// A body that is no JSON: none that says anything, unless it only fails to be what it should.
    fn unparsed(bytes: &[u8], is_json: bool) -> Self {
        let is_empty = bytes.trim_ascii().is_empty();
        if !is_empty && (is_json || looks_like_json(bytes)) {
            Self::Unreadable(BodyError::Malformed)
        } else {
            Self::Opaque
        }
    }

    /// Whether the body is still to come.
    #[must_use]
    pub const fn is_pending(&self) -> bool {
        matches!(self, Self::Pending)
    }

    /// # Errors
    /// [`BodyError`] when the body is there and cannot be read.
    pub(super) fn readable(&self) -> Result<(), BodyError> {
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

/// Whether bytes begin as a JSON object or array does.
fn looks_like_json(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// JSON as a CEL value. Numbers are integers where they can be.
pub(super) fn value(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Box::new(CelNull),
        serde_json::Value::Bool(bool) => Box::new(CelBool::from(bool)),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Box::new(CelInt::from(int)),
            (None, Some(uint)) => Box::new(CelUInt::from(uint)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::MAX))),
        },
        serde_json::Value::String(string) => Box::new(CelString::from(string)),
        serde_json::Value::Array(items) => {
            let items: Vec<Value> = items.into_iter().map(value).collect();
            Box::new(CelList::from(items))
        }
        serde_json::Value::Object(fields) => {
            let entries = fields
                .into_iter()
                .map(|(name, field)| (CelMapKey::from(name), value(field)));
            Box::new(CelMap::from(entries.collect::<HashMap<_, _>>()))
        }
    }
}
