//! Missing values: what an evaluation makes of them, and how they differ from other errors.

use std::cell::Cell;

use cel::ExecutionError;

use super::attribute;
use super::environment::REQUEST_BODY;

/// The type of null.
const NULL: &str = "null_type";

/// What an evaluation does where a value is missing.
#[derive(Clone, Copy, Debug)]
pub(super) enum Missing<'e> {
    /// It has no value.
    Fails,
    /// It continues with null, and notes that it did.
    ReadsNull(&'e Cell<bool>),
}

// === impl Missing ===

impl Missing<'_> {
    /// Returns whether a missing value is null, and notes that one was read.
    pub(super) fn reads_null(self) -> bool {
        match self {
            Self::Fails => false,
            Self::ReadsNull(was_read) => {
                was_read.set(true);
                true
            }
        }
    }

    /// Returns whether a missing value was read since the last call.
    pub(super) fn take(self) -> bool {
        match self {
            Self::Fails => false,
            Self::ReadsNull(was_read) => was_read.take(),
        }
    }

    /// Notes again what [`Missing::take`] has returned.
    pub(super) fn note(self, was_read: bool) {
        if let Self::ReadsNull(noted) = self {
            noted.set(noted.get() || was_read);
        }
    }
}

/// Returns whether an evaluation failed because a value is missing, absent or null, such as a claim that the caller
/// does not have.
///
/// A predicate is false then. For any other error, the failure mode decides.
pub(super) fn is_missing(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::NoSuchKey(_) => true,
        // All names of a compiled expression are known, so the host has no value for this one.
        ExecutionError::UndeclaredReference(name) => {
            name.as_str() == REQUEST_BODY
                || attribute::aliased(name).is_some()
                || attribute::roots().any(|root| root == name.as_str())
        }
        ExecutionError::NoSuchOverload(error) => error
            .argument_types()
            .iter()
            .any(|argument| argument == NULL),
        ExecutionError::UnexpectedType { got, .. } => got == NULL,
        ExecutionError::UnsupportedTargetType { target }
        | ExecutionError::NotSupportedAsMethod { target, .. } => is_null(target),
        ExecutionError::ValuesNotComparable(left, right)
        | ExecutionError::UnsupportedBinaryOperator(_, left, right) => {
            is_null(left) || is_null(right)
        }
        _ => false,
    }
}

fn is_null(value: &cel::Value) -> bool {
    matches!(value, cel::Value::Null)
}
