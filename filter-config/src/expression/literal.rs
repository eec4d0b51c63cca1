//! Literals that are given to functions which take only some texts: what is wrong with them is known
//! before any request.

use super::environment::JSON_POINTER;
use super::fault::ExpressionFault;
use super::{pattern, pointer};

/// What is wrong with a literal as the last argument of a function.
pub(super) fn check(function: &str, text: &str) -> Option<ExpressionFault> {
    match function {
        JSON_POINTER if !pointer::is_pointer(text) => {
            Some(ExpressionFault::Pointer(text.to_owned()))
        }
        "matches" => pattern::check(text)
            .err()
            .map(|message| ExpressionFault::Pattern {
                pattern: text.to_owned(),
                message,
            }),
        "getDate" | "getDayOfMonth" | "getDayOfWeek" | "getDayOfYear" | "getFullYear"
        | "getHours" | "getMilliseconds" | "getMinutes" | "getMonth" | "getSeconds"
            if !is_zone(text) =>
        {
            Some(ExpressionFault::Zone(text.to_owned()))
        }
        _ => None,
    }
}

/// Whether a text is a time zone that there is: UTC, or an offset from it such as `+02:00`. The module
/// goes without the names of the others, which would be a third of it.
fn is_zone(text: &str) -> bool {
    let number = |digits: &str, most: u8| {
        digits.len() == 2
            && digits.bytes().all(|digit| digit.is_ascii_digit())
            && digits.parse::<u8>().is_ok_and(|number| number <= most)
    };
    matches!(text, "" | "UTC")
        || text.split_once(':').is_some_and(|(hours, minutes)| {
            let hours = hours.strip_prefix(['+', '-']).unwrap_or(hours);
            number(hours, 23) && number(minutes, 59)
        })
}
