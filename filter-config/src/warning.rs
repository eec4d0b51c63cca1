//! Warnings: parts of a valid configuration that have no effect.

use std::fmt;

use thiserror::Error;

/// A part of a valid configuration that has no effect.
///
/// Displays as `path: message`. The message says what is found and how to fix it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub(crate) path: String,
    pub(crate) kind: WarningKind,
}

/// The ways in which a part of a configuration has no effect.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum WarningKind {
    #[error(
        "found nothing to count, so the limit enforces nothing; add \"rates\", \"requests\", \"budgets\" or \
         \"concurrency\", or remove it"
    )]
    CountsNothing,
    #[error(
        "found a second rate for the window {0:?}, of which only the lower limit is enforced; remove one of them"
    )]
    SecondOfWindow(String),
    #[error("has no effect beside \"{0}\", move it into \"{0}\" or remove it")]
    Beside(&'static str),
    #[error(
        "has no effect, as only \"totalTokens\" is read{0}; for other numbers of tokens set \"usage.paths\""
    )]
    NotExtracted(String),
    #[error(
        "found the kind {0:?}, which is left out: only TokenRateLimitPolicy and HTTPRoute are read"
    )]
    NotRead(String),
    #[error(
        "found a second policy for its target, which is left out, as {first} is {why}; remove one of them, or \
         merge them"
    )]
    SecondOfTarget { first: String, why: &'static str },
    #[error(
        "found no name but a prefix for one, so the policy is named {0:?} and its limits are not those that Kuadrant \
         writes into limitador; set \"metadata.name\""
    )]
    Unnamed(String),
}

// === impl Warning ===

impl Warning {
    /// Returns the path to the part, such as `spec.limits.free`; `configuration` is the whole.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns what is found there, and how to fix it.
    #[must_use]
    pub fn message(&self) -> String {
        self.kind.to_string()
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.kind)
    }
}
