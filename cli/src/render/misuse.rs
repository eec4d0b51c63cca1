//! Flags that do not fit together.

/// A flag that is missing, or that does not fit the form or the configuration. Displays with the flag.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misuse(String);

// === impl Misuse ===

impl Misuse {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}
