//! Changes to a part of a text. All other bytes stay the same.

/// Returns `text` with its slice `part` replaced.
pub(super) fn replace(text: &str, part: &str, replacement: &str) -> Option<Vec<u8>> {
    let start = offset(text, part)?;
    let end = start.checked_add(part.len())?;
    let mut spliced = Vec::with_capacity(text.len().saturating_add(replacement.len()));
    spliced.extend_from_slice(text.get(..start)?.as_bytes());
    spliced.extend_from_slice(replacement.as_bytes());
    spliced.extend_from_slice(text.get(end..)?.as_bytes());
    Some(spliced)
}

/// Returns the offset of `part`, a slice of `text`.
pub(super) fn offset(text: &str, part: &str) -> Option<usize> {
    (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)
}
