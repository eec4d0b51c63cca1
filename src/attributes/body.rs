//! The request's body, as far as expressions can read it.

use super::object;
use super::value::{Value, from_json, string};
use cel::common::types::CelDouble;
use usage_meter::request::{BodyReader, Pointers, Syntax, unescaped};

/// What is known of the request's body.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// It has not arrived yet.
    Pending,
    /// There is none, or it is not JSON, or it was not read: every field of it is missing.
    Opaque,
    /// It is JSON: the document, or a map from the pointers that expressions name to the values there.
    /// What was not read of it is missing.
    Json(Value),
    /// It should be JSON, or begins like it, and is not.
    Malformed,
}

/// The request's body should be JSON and is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("request body: malformed JSON")]
pub(crate) struct MalformedBody;

// === impl Body ===

impl Body {
    /// Returns a body as it was read so far, that the request's headers call JSON or not. Only one that
    /// was read as a whole can be malformed.
    #[must_use]
    pub(crate) fn read(
        reader: &BodyReader,
        pointers: &Pointers,
        is_json: bool,
        is_whole: bool,
    ) -> Self {
        match reader.syntax() {
            Some(Syntax::Incomplete | Syntax::Malformed)
                if is_whole && (is_json || reader.begins_like_json()) =>
            {
                Self::Malformed
            }
            Some(Syntax::Complete) => Self::of_values(reader, pointers),
            Some(Syntax::Incomplete) if !is_whole => Self::of_values(reader, pointers),
            _ => Self::Opaque,
        }
    }

    /// Returns a whole body with the values at these pointers.
    #[cfg(test)]
    pub(crate) fn parse(bytes: &[u8], is_json: bool, pointers: &[&str]) -> Self {
        let pointers = std::sync::Arc::new(Pointers::new(pointers));
        let mut reader = BodyReader::new(None, &pointers);
        reader.push(bytes);
        reader.finish();
        Self::read(&reader, &pointers, is_json, true)
    }

    fn of_values(reader: &BodyReader, pointers: &Pointers) -> Self {
        let pointers = pointers.texts();
        if pointers.is_empty() {
            return Self::Opaque;
        }
        let mut found = Vec::with_capacity(pointers.len());
        for (index, pointer) in pointers.iter().enumerate() {
            let Some(value) = reader.value(index).and_then(value) else {
                continue;
            };
            if pointer.is_empty() {
                return Self::Json(value);
            }
            found.push((pointer.clone(), value));
        }
        Self::Json(object::fields(found.into_iter()))
    }

    /// Returns whether the body has not arrived yet.
    #[must_use]
    pub(crate) const fn is_pending(&self) -> bool {
        matches!(self, Self::Pending)
    }

    /// Checks that the body is not malformed.
    ///
    /// # Errors
    /// [`MalformedBody`] when it is.
    pub(super) const fn check_well_formed(&self) -> Result<(), MalformedBody> {
        match self {
            Self::Malformed => Err(MalformedBody),
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

/// Returns a value of JSON that is well-formed; `None` where it nests too deep for a parser's stack.
fn value(json: &[u8]) -> Option<Value> {
    if let [b'"', text @ .., b'"'] = json {
        return Some(string(unescaped(text)));
    }
    if let Ok(json) = serde_json::from_slice(json) {
        return Some(from_json(json));
    }
    // A number that no double can hold is infinite.
    let infinite = match json.first()? {
        b'-' => f64::NEG_INFINITY,
        b'0'..=b'9' => f64::INFINITY,
        _ => return None,
    };
    Some(Box::new(CelDouble::from(infinite)))
}
