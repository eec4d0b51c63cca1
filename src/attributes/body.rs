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
    /// It has not arrived when the upstream answered.
    #[error("the response began before its end")]
    Unfinished,
}

impl Body {
    /// The body that these bytes are. A byte order mark before the JSON is skipped, as servers do.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        // serde_json refuses what nests too deep for its stack.
        match serde_json::from_slice(bytes) {
            Ok(json) => Self::Json(value(json)),
            Err(_) => Self::Opaque,
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
