//! Changes to a text that leave every other byte of it as it is.

/// The text with `part`, which is a part of it, replaced.
pub(super) fn replace(text: &str, part: &str, by: &str) -> Option<Vec<u8>> {
    let start = offset(text, part)?;
    let end = start.checked_add(part.len())?;
    let mut spliced = Vec::with_capacity(text.len().saturating_add(by.len()));
    spliced.extend_from_slice(text.get(..start)?.as_bytes());
    spliced.extend_from_slice(by.as_bytes());
    spliced.extend_from_slice(text.get(end..)?.as_bytes());
    Some(spliced)
}

/// Where a part of a text begins in it.
pub(super) fn offset(text: &str, part: &str) -> Option<usize> {
    (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)
}
