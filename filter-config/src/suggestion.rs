//! What messages suggest instead of an unknown name.

#[cfg(test)]
mod tests;

/// Bytes of the longest unknown name that is compared. A longer one is not a typing error.
const MAX_NAME_BYTES: usize = 64;

/// Returns the end of a message on an unknown name: `did you mean "auth"?`, or `expected "auth" or "request"` where
/// no known name is close.
pub(crate) fn instead(name: &str, known: &[&str]) -> String {
    match closest(name, known.iter().copied()) {
        Some(known) => format!("did you mean {known:?}?"),
        None => format!("expected {}", one_of(known)),
    }
}

/// Returns the end of a message on an unknown name of which there are many: `, did you mean "split"?`, or nothing
/// where no known name is close.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    closest(name, known).map_or_else(String::new, |known| format!(", did you mean {known:?}?"))
}

/// Returns the known name that a name differs from by at most one edit, ignoring case.
pub(crate) fn typing_error<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    if name.len() > MAX_NAME_BYTES {
        return None;
    }
    let name = name.to_lowercase();
    let is_close = |known: &&&str| strsim::osa_distance(&name, &known.to_lowercase()) <= 1;
    known.iter().find(is_close).copied()
}

/// Lists words as a choice: `"local", "allow" or "deny"`.
pub(crate) fn one_of(words: &[&str]) -> String {
    let mut list = String::new();
    for (position, word) in words.iter().enumerate() {
        let separator = match position {
            0 => "",
            _ if position.saturating_add(1) == words.len() => " or ",
            _ => ", ",
        };
        list.extend([separator, "\"", word, "\""]);
    }
    list
}

/// Returns the one of `known` that is closest to `name`, if `name` can be a typing error for it: at most one edit per
/// three characters. A transposition of neighbours is one edit, and case is ignored.
pub(crate) fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return None;
    }
    let name = name.to_lowercase();
    let max_edits = name.chars().count().div_ceil(3);
    known
        .into_iter()
        .map(|known| (strsim::osa_distance(&name, &known.to_lowercase()), known))
        .filter(|(edits, _)| *edits <= max_edits)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, known)| known)
}
