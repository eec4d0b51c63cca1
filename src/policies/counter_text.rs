//! The values that a limit counts by, as one text for lists of counters.

use filter_config::{Expression, Limit};
use std::rc::Rc;

/// Parts of an expression that may name a credential, in lower case.
const CREDENTIALS: [&str; 7] = [
    "authorization",
    "cookie",
    "key",
    "token",
    "secret",
    "password",
    "credential",
];

/// What stands for a value that may be a credential.
pub(super) const WITHHELD: &str = "[withheld]";

/// The most bytes of the values of a counter that is tracked.
const MAX_TRACKED_BYTES: usize = 128;

/// What precedes each value of a counter that is tracked: no value has it.
const SEPARATOR: char = '\n';

/// Returns whether an expression takes its value from where credentials are.
pub(super) fn is_credential(counter: &Expression) -> bool {
    let source = counter.source().to_ascii_lowercase();
    CREDENTIALS.iter().any(|part| source.contains(part))
}

/// Returns the values that a limit counts by as one text, for lists of counters: all together at most
/// [`MAX_TRACKED_BYTES`], without control characters, and without those that may be credentials.
#[must_use]
pub(crate) fn tracked_text(limit: &Limit, values: &[Rc<str>]) -> Rc<str> {
    let share = MAX_TRACKED_BYTES
        .checked_div(values.len())
        .unwrap_or_default();
    let mut text = String::with_capacity(MAX_TRACKED_BYTES);
    for (counter, value) in limit.counters.iter().zip(values) {
        text.push(SEPARATOR);
        let value = if is_credential(counter) {
            WITHHELD
        } else {
            value
        };
        let mut left = share;
        for character in value.chars().filter(|it| !it.is_control()) {
            let Some(rest) = left.checked_sub(character.len_utf8()) else {
                break;
            };
            left = rest;
            text.push(character);
        }
    }
    text.into()
}

/// Returns the values of a limit's counter expressions in a text of [`tracked_text`]; `None` if they are not known.
pub(crate) fn tracked_values(text: &str) -> Option<impl Iterator<Item = &str>> {
    let text = text.strip_prefix(SEPARATOR)?;
    Some(text.split(SEPARATOR))
}
