//! "Did you mean": the known name closest to an unknown one.

/// Bytes of the longest unknown name that is compared: a longer one is no slip of the hand.
const LONGEST: usize = 64;

/// The closest of `known` to `name`, if one is close enough to be what was meant: at most one edit
/// in three characters, where an exchange of two neighbours is one edit and case is none.
pub(crate) fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    if name.is_empty() || name.len() > LONGEST {
        return None;
    }
    let name: Vec<char> = name.to_lowercase().chars().collect();
    let most = name.len().div_ceil(3);
    known
        .into_iter()
        .map(|candidate| (distance(&name, candidate), candidate))
        .filter(|(edits, _)| *edits <= most)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate.to_owned())
}

/// Optimal string alignment distance: insertions, deletions, replacements and exchanges of
/// neighbours that turn one string into the other, row by row.
fn distance(name: &[char], candidate: &str) -> usize {
    let candidate: Vec<char> = candidate.to_lowercase().chars().collect();
    let width = candidate.len().saturating_add(1);
    let mut before: Vec<usize> = vec![0; width];
    let mut above: Vec<usize> = (0..width).collect();
    let mut previous = None;
    for (row, &left) in name.iter().enumerate() {
        let mut current = Vec::with_capacity(width);
        current.push(row.saturating_add(1));
        for (column, &right) in candidate.iter().enumerate() {
            let at =
                |cells: &[usize], column: usize| cells.get(column).copied().unwrap_or(usize::MAX);
            let replaced = at(&above, column).saturating_add(usize::from(left != right));
            let deleted = at(&above, column.saturating_add(1)).saturating_add(1);
            let inserted = at(&current, column).saturating_add(1);
            let mut edits = replaced.min(deleted).min(inserted);
            if let Some(earlier) = column.checked_sub(1)
                && previous == Some(right)
                && candidate.get(earlier) == Some(&left)
            {
                edits = edits.min(at(&before, earlier).saturating_add(1));
            }
            current.push(edits);
        }
        before = std::mem::replace(&mut above, current);
        previous = Some(left);
    }
    above.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
