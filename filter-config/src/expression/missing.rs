//! Distinguishes missing values from other errors of an evaluation.

use cel::ExecutionError;

use super::attribute;
use super::environment::REQUEST_BODY;

/// The type of null.
const NULL: &str = "null_type";

/// Returns whether an evaluation failed because a value is missing, absent or null, such as a claim that the caller
/// does not have.
///
/// A predicate with a missing value is false. For any other error, the failure mode decides.
#[must_use]
pub fn missing(error: &ExecutionError) -> bool {
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
