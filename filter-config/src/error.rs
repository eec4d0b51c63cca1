//! Validation errors: what is wrong with a configuration, and where.

use std::fmt;

use thiserror::Error;

use crate::bounds;
use crate::expression::ExpressionError;
use crate::expression_cache::ExpressionCache;
use crate::path::Path;
use crate::usd::UsdError;
use crate::warning::{Notice, Warning};
use crate::window::WindowError;

/// All validation errors of a configuration, in the order of the document.
///
/// Displays as one line per error. At most [`bounds::VALIDATION_ERRORS`] are kept; the last line counts the others.
#[derive(Debug, Default, Error)]
pub struct ValidationErrors {
    errors: Vec<ValidationError>,
    omitted: usize,
    /// The warnings of a configuration that may yet be valid.
    warnings: Vec<Warning>,
    /// The expressions that were compiled so far. Boxed, since errors are returned by value.
    pub(crate) expressions: Box<ExpressionCache>,
}

/// One thing that is wrong with a configuration.
///
/// Displays as `path: message`. The message says what was found, what is expected, and where it helps how to fix it.
#[derive(Debug, Error)]
#[error("{path}: {kind}")]
pub struct ValidationError {
    path: String,
    kind: ErrorKind,
}

/// The ways in which a place of a configuration can be wrong.
#[derive(Debug, Error)]
pub(crate) enum ErrorKind {
    #[error("invalid JSON: {0}")]
    Json(String),
    #[error(
        "found YAML, expected JSON; convert it, or give it to Envoy as a google.protobuf.Struct instead of a StringValue"
    )]
    YamlAsJson,
    #[error("invalid YAML: {0}")]
    #[cfg_attr(
        not(feature = "yaml"),
        expect(dead_code, reason = "only YAML is read with it")
    )]
    Yaml(String),
    #[error(
        "found an empty document, expected a TokenRateLimitPolicy or an object with \"policies\""
    )]
    EmptyDocument,
    #[error("found a byte order mark, expected JSON; save the document as UTF-8 without one")]
    ByteOrderMark,
    /// A repeated key: parsers differ in which of its values they take.
    #[error("duplicate field, expected it once")]
    DuplicateField,
    #[error("found {found}, expected {expected}")]
    Unexpected { found: String, expected: String },
    #[error("missing required field")]
    MissingField,
    #[error("unknown field, {instead}")]
    UnknownField { instead: String },
    #[error(
        "a TokenRateLimitPolicy has no such field; to set it, put the policy into \"policies\" beside it"
    )]
    LongFormField,
    #[error("unknown route {name:?}, expected the namespace/name of one in \"routes\"{suggestion}")]
    UnknownRoute { name: String, suggestion: String },
    #[error("unknown rule {name:?}, expected the name of a rule of the route {route:?}")]
    UnknownRule { route: String, name: String },
    #[error("unknown placeholder {name:?}, {instead}")]
    UnknownPlaceholder { name: String, instead: String },
    #[error("conflicts with \"{0}\", remove one of them")]
    Conflict(&'static str),
    #[error("must not be empty")]
    Empty,
    #[error("found no policy, expected at least one TokenRateLimitPolicy")]
    NoPolicy,
    #[error("found {found} {unit}, expected at most {max}")]
    TooMany {
        found: usize,
        unit: &'static str,
        max: usize,
    },
    #[error("duplicate {what}, already given at {first}")]
    Duplicate { what: String, first: String },
    #[error("{0}")]
    Malformed(&'static str),
    #[error("invalid regular expression: {0}")]
    Regex(#[from] regex_lite::Error),
    #[error("invalid duration {found}, expected {}", .error.expected())]
    Window { found: String, error: WindowError },
    #[error("invalid size {found}, did you mean {instead:?}?")]
    Size { found: String, instead: String },
    #[error("invalid duration {found}, did you mean {instead:?}?")]
    SpelledWindow { found: String, instead: String },
    #[error(
        "no calendar period has this length, expected a fraction of a day such as \"1m\", \"1h\" or \"1d\", a week (\"1w\") or a month (\"30d\")"
    )]
    NotInCalendar,
    #[error(
        "found an expression, expected a duration; only the algorithm \"fixed\" can have a computed window"
    )]
    ComputedWindow,
    #[error("not supported by this type of storage, expected {0}")]
    NotRemote(&'static str),
    #[error(
        "not supported with {0}, expected \"type\": \"limitador\" and \"protocol\": \"reserve\", or no \"lease\""
    )]
    NoLease(&'static str),
    #[error("invalid amount {found}, expected {}", UsdError::EXPECTED)]
    Usd { found: String },
    #[error("has no effect on a fixed \"{0}\", remove it or make \"{0}\" an expression")]
    OnlyComputed(&'static str),
    #[error(
        "missing: the client can choose the value of \"limit\", expected an upper bound, or \"none\" to allow any value"
    )]
    UnboundedLimit,
    #[error(
        "missing: the client can choose the value of \"window\", expected a lower bound such as \"1m\""
    )]
    UnboundedWindow,
    #[error("has no effect on this source, remove it or use \"metadata\"")]
    OnlyOfMetadata,
    #[error("must not be greater than \"max\"")]
    AboveMax,
    #[error("must not be greater than \"memory.perWorker\", lower it or raise that")]
    AboveWorkerMemory,
    #[error(
        "has no effect with this value of \"unpriced\", remove it or set \"unpriced\" to \"default\""
    )]
    UnusedDefaultPrice,
    #[error("missing: {0} needs the prices of models")]
    NeedsPricing(String),
    #[error(
        "must be true: {0} has \"alternatives\", which change a request before its headers are sent"
    )]
    NeedsHeldHeaders(String),
    #[error("must be true: {0} has \"cap\", which changes a request before its headers are sent")]
    CapNeedsHeldHeaders(String),
    #[error("must be local: {0} has \"cap\", which is not exact across Envoys")]
    CapNeedsLocalStorage(String),
    #[error(
        "expected \"deny\" or \"allow\": {0} has \"cap\", and a request that was queued or changed is not capped"
    )]
    CapExcludesWaiting(String),
    #[error(transparent)]
    Expression(#[from] ExpressionError),
}

/// A value that is not valid. Its errors are in the [`ValidationErrors`] that its reader was given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Invalid;

// === impl ValidationErrors ===

impl ValidationErrors {
    /// Returns the errors that are kept, in the order of the document.
    pub fn iter(&self) -> std::slice::Iter<'_, ValidationError> {
        self.errors.iter()
    }

    /// Returns whether there are no errors.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// Returns the number of further errors, which are not kept.
    #[must_use]
    pub const fn omitted(&self) -> usize {
        self.omitted
    }

    /// Returns whether further errors are only counted.
    pub(crate) fn is_full(&self) -> bool {
        self.errors.len() >= bounds::VALIDATION_ERRORS
    }

    /// Returns the number of errors, including those that are not kept.
    pub(crate) fn count(&self) -> usize {
        self.errors.len().saturating_add(self.omitted)
    }

    /// Moves the errors below `path`, where the document they are in stands in another.
    #[cfg(feature = "yaml")]
    pub(crate) fn below(mut self, path: &str) -> Self {
        let errors = self.errors.iter_mut().map(|error| &mut error.path);
        let warnings = self.warnings.iter_mut().map(|warning| &mut warning.path);
        for below in errors.chain(warnings) {
            *below = match below.as_str() {
                "configuration" => path.to_owned(),
                below if below.starts_with('[') => format!("{path}{below}"),
                below => format!("{path}.{below}"),
            };
        }
        self
    }

    /// Adds the errors and warnings of a part of the document.
    #[cfg(feature = "yaml")]
    pub(crate) fn append(&mut self, other: Self) {
        let room = bounds::VALIDATION_ERRORS.saturating_sub(self.errors.len());
        let kept = other.errors.len().min(room);
        let beyond = other.errors.len().saturating_sub(kept);
        self.omitted = self
            .omitted
            .saturating_add(other.omitted)
            .saturating_add(beyond);
        self.errors.extend(other.errors.into_iter().take(kept));
        let room = bounds::VALIDATION_ERRORS.saturating_sub(self.warnings.len());
        self.warnings.extend(other.warnings.into_iter().take(room));
    }

    /// Takes the warnings of a configuration that may yet be valid.
    pub(crate) fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    /// Adds a warning. Those that are too many for a report are not kept.
    pub(crate) fn warn(&mut self, path: &Path<'_>, notice: impl Into<Notice>) {
        if self.warnings.len() < bounds::VALIDATION_ERRORS {
            self.warnings.push(Warning {
                path: path.to_string(),
                notice: notice.into(),
            });
        }
    }

    /// Adds an error. A reader that yields nothing for it returns the [`Invalid`].
    pub(crate) fn push(&mut self, path: &Path<'_>, kind: impl Into<ErrorKind>) -> Invalid {
        if self.is_full() {
            self.omitted = self.omitted.saturating_add(1);
        } else {
            self.errors.push(ValidationError {
                path: path.to_string(),
                kind: kind.into(),
            });
        }
        Invalid
    }
}

impl<'a> IntoIterator for &'a ValidationErrors {
    type Item = &'a ValidationError;
    type IntoIter = std::slice::Iter<'a, ValidationError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for ValidationErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, error) in self.errors.iter().enumerate() {
            if position > 0 {
                writeln!(formatter)?;
            }
            write!(formatter, "{error}")?;
        }
        if self.omitted > 0 {
            write!(formatter, "\nand {} more", self.omitted)?;
        }
        Ok(())
    }
}

// === impl ValidationError ===

impl ValidationError {
    /// Returns the path to the error, such as `spec.limits.free.when[0].predicate`; `configuration` is the whole.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}
