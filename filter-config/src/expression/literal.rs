//! Checks literal arguments of functions that only take certain texts, so that errors are found before any request.

use super::environment::JSON_POINTER;
use super::error::ExpressionError;
use super::pattern::Pattern;
use super::pointer;

/// Returns the error of a literal as the last argument of a function, if there is one.
pub(super) fn check(function: &str, text: &str) -> Option<ExpressionError> {
    match function {
        JSON_POINTER if !pointer::is_pointer(text) => {
            Some(ExpressionError::Pointer(text.to_owned()))
        }
        "matches" => Pattern::new(text)
            .err()
            .map(|error| ExpressionError::Pattern {
                pattern: text.to_owned(),
                message: error.to_string(),
            }),
        "getDate" | "getDayOfMonth" | "getDayOfWeek" | "getDayOfYear" | "getFullYear"
        | "getHours" | "getMilliseconds" | "getMinutes" | "getMonth" | "getSeconds"
            if !is_zone(text) =>
        {
            Some(ExpressionError::Zone(text.to_owned()))
        }
        _ => None,
    }
}

/// Returns whether a text is a supported time zone: UTC, or an offset from it such as `+02:00`. The names of others
/// would be a third of the module.
fn is_zone(text: &str) -> bool {
    let number = |digits: &str, max: u8| {
        digits.len() == 2
            && digits.bytes().all(|digit| digit.is_ascii_digit())
            && digits.parse::<u8>().is_ok_and(|number| number <= max)
    };
    matches!(text, "" | "UTC")
        || text.split_once(':').is_some_and(|(hours, minutes)| {
            let hours = hours.strip_prefix(['+', '-']).unwrap_or(hours);
            number(hours, 23) && number(minutes, 59)
        })
}
