//! The boundaries of events in a piece of an event stream.

use memchr::{memchr, memrchr};

#[cfg(test)]
mod tests;

/// Splits off the last complete event, together with the beginning of the next one.
pub(super) fn split_last_event(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let begun = after_last_blank_line(bytes).len();
    let complete = bytes.get(..bytes.len().checked_sub(begun)?)?;
    // Without the blank lines that end it.
    let end = complete
        .iter()
        .rposition(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let last = after_last_blank_line(complete.get(..=end)?).len();
    bytes.split_at_checked(end.saturating_add(1).checked_sub(last)?)
}

/// Returns what follows the last blank line, or everything if there is none.
pub(in crate::response) fn after_last_blank_line(bytes: &[u8]) -> &[u8] {
    let mut before = bytes;
    while let Some(index) = memrchr(b'\n', before) {
        before = before.get(..index).unwrap_or_default();
        let end = match before {
            [.., b'\n'] | [.., b'\n', b'\r'] => index.saturating_add(1),
            _ => continue,
        };
        return bytes.get(end..).unwrap_or_default();
    }
    bytes
}

/// Returns the number of bytes up to the end of the first blank line, or of all bytes if there is
/// none.
pub(super) fn first_event_length(bytes: &[u8]) -> usize {
    let mut from = 0_usize;
    while let Some(rest) = bytes.get(from..)
        && let Some(index) = memchr(b'\n', rest)
    {
        from = from.saturating_add(index).saturating_add(1);
        match bytes.get(from..) {
            Some([b'\n', ..]) => return from.saturating_add(1),
            Some([b'\r', b'\n', ..]) => return from.saturating_add(2),
            _ => {}
        }
    }
    bytes.len()
}
