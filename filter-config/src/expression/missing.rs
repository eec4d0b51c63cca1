//! Telling a value that is not there from any other fault of an evaluation.

use cel::ExecutionError;

use super::attribute;
use super::environment::REQUEST_BODY;

/// The type of null.
const NULL: &str = "null_type";

/// Whether an evaluation failed because a value was absent or null, such as a claim that the caller
/// does not have, as opposed to any other fault.
///
/// A `when` that meets a missing value does not hold; any other fault follows the failure mode.
#[must_use]
pub fn missing(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::NoSuchKey(_) => true,
        // Every name is known once an expression compiles: the host has no value for this one.
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
