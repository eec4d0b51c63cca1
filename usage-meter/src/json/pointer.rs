//! JSON pointers (RFC 6901) to a value within a document.

#[cfg(test)]
mod tests;

/// A JSON pointer (RFC 6901) to a value within a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pointer {
    /// The keys and indexes, without escapes.
    parts: Vec<Box<str>>,
}

/// The reason why a text is not a pointer to a value within a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// The text is not a JSON pointer, or points to the document itself.
    #[error("not a JSON pointer such as \"/usage/total_tokens\"")]
    Invalid,
    /// The pointer has too many keys and indexes.
    #[error("a JSON pointer of {0} keys and indexes, expected at most {max}", max = Pointer::MAX_PARTS)]
    TooDeep(usize),
}

// === impl Pointer ===

impl Pointer {
    /// The maximum number of keys and indexes.
    pub const MAX_PARTS: usize = 10;

    /// Returns whether a key contains a text.
    pub(crate) fn has_key_with(&self, text: &str) -> bool {
        self.parts.iter().any(|part| part.contains(text))
    }

    pub(super) fn parts(&self) -> &[Box<str>] {
        &self.parts
    }
}

impl std::str::FromStr for Pointer {
    type Err = PointerError;

    #[cold]
    fn from_str(text: &str) -> Result<Self, PointerError> {
        let parts = text.strip_prefix('/').ok_or(PointerError::Invalid)?;
        let mut escapes = text.split('~').skip(1);
        if !escapes.all(|rest| rest.starts_with(['0', '1'])) {
            return Err(PointerError::Invalid);
        }
        let count = parts.split('/').count();
        if count > Self::MAX_PARTS {
            return Err(PointerError::TooDeep(count));
        }
        let unescaped = |part: &str| part.replace("~1", "/").replace("~0", "~").into_boxed_str();
        Ok(Self {
            parts: parts.split('/').map(unescaped).collect(),
        })
    }
}

/// Returns whether a part of a pointer is the index of an array: digits without a leading zero.
pub(crate) fn is_index(part: &str) -> bool {
    let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    is_number && (part == "0" || !part.starts_with('0'))
}
