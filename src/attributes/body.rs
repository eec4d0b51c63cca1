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
    /// It is JSON: a map from the pointers that expressions name to the values there. What was not read of it
    /// is missing.
    Json(Value),
    /// It is JSON: the document.
    Document(Value),
    /// It should be JSON, or begins like it, and is not.
    Malformed,
}

/// The most memory that the values of one body may take, far more than those of any real request. JSON such as
/// `[{"":{"":0}}]` takes fifty times its text while it is parsed.
const MAX_VALUES_BYTES: usize = 8 << 20;

/// The values of a body may take this much whatever else there is: the model, names, numbers.
const FREE_VALUES_BYTES: usize = 16 << 10;

/// What an object of JSON takes while it is parsed and as a value.
const OBJECT_BYTES: usize = 700;

/// What another value of JSON takes beside its text.
const VALUE_BYTES: usize = 96;

/// The request's body should be JSON and is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("request body: malformed JSON")]
pub(crate) struct MalformedBody;

// === impl Body ===

impl Body {
    /// Returns a body as it was read so far, that the request's headers call JSON or not, and whether its values fit
    /// into `max` bytes; those that do not are missing. Only a body that was read as a whole can be malformed.
    #[must_use]
    pub(crate) fn read(
        reader: &BodyReader,
        pointers: &Pointers,
        is_json: bool,
        is_whole: bool,
        max: usize,
    ) -> (Self, bool) {
        match reader.syntax() {
            Some(Syntax::Incomplete | Syntax::Malformed)
                if is_whole && (is_json || reader.begins_like_json()) =>
            {
                (Self::Malformed, true)
            }
            Some(Syntax::Complete) => Self::of_values(reader, pointers, max),
            Some(Syntax::Incomplete) if !is_whole => Self::of_values(reader, pointers, max),
            _ => (Self::Opaque, true),
        }
    }

    /// Returns a whole body with the values at these pointers.
    #[cfg(test)]
    pub(crate) fn parse(bytes: &[u8], is_json: bool, pointers: &[&str]) -> Self {
        let pointers = std::sync::Arc::new(Pointers::new(pointers));
        let mut reader = BodyReader::new(None, &pointers);
        reader.push(bytes);
        reader.finish();
        Self::read(&reader, &pointers, is_json, true, usize::MAX).0
    }

    fn of_values(reader: &BodyReader, pointers: &Pointers, max: usize) -> (Self, bool) {
        let pointers = pointers.texts();
        if pointers.is_empty() {
            return (Self::Opaque, true);
        }
        let max = max.max(FREE_VALUES_BYTES);
        let mut taken = 0_usize;
        let mut do_fit = true;
        let mut found = Vec::with_capacity(pointers.len());
        for (index, pointer) in pointers.iter().enumerate() {
            let Some(json) = reader.value(index) else {
                continue;
            };
            let with_this = taken.saturating_add(parsed_bytes(json));
            do_fit &= with_this <= max;
            if with_this > max.min(MAX_VALUES_BYTES) {
                continue;
            }
            taken = with_this;
            let Some(value) = value(json) else {
                continue;
            };
            if pointer.is_empty() {
                return (Self::Document(value), do_fit);
            }
            found.push((pointer.clone(), value));
        }
        (Self::Json(object::fields(found.into_iter())), do_fit)
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

    /// Returns a copy of the body with the values at these pointers only, and without a document if there are
    /// none.
    pub(super) fn part<'a>(&self, pointers: impl Iterator<Item = &'a str>) -> Self {
        let mut pointers = pointers.peekable();
        match self {
            Self::Json(_) | Self::Document(_) if pointers.peek().is_none() => Self::Opaque,
            Self::Json(value) => Self::Json(object::part(value, pointers)),
            other => other.clone(),
        }
    }

    pub(super) const fn value(&self) -> Option<&Value> {
        match self {
            Self::Json(value) | Self::Document(value) => Some(value),
            _ => None,
        }
    }
}

/// Returns the most memory that JSON takes while it is parsed and as a value.
fn parsed_bytes(json: &[u8]) -> usize {
    let mut bytes = json.len().saturating_mul(2);
    let mut is_string = false;
    let mut is_escaped = false;
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            b'{' if !is_string => bytes = bytes.saturating_add(OBJECT_BYTES),
            b'[' | b',' if !is_string => bytes = bytes.saturating_add(VALUE_BYTES),
            _ => {}
        }
    }
    bytes
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
