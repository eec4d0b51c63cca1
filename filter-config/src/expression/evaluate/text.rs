//! Functions of texts, in linear time. Indices count characters.

use cel::ExecutionError;

use crate::expression::fuel::Fuel;

fn out_of_range(function: &str, index: i64) -> ExecutionError {
    ExecutionError::function_error(function, format!("index out of range: {index}"))
}

/// Returns the position of a character in bytes, that of the end if it is the one after the last.
fn offset(text: &str, index: usize) -> Option<usize> {
    let ends = std::iter::once(text.len());
    text.char_indices().map(|(at, _)| at).chain(ends).nth(index)
}

/// Returns the number of characters before a position in bytes.
fn characters_before(text: &str, at: usize) -> i64 {
    let before = text.get(..at).map_or(0, |before| before.chars().count());
    i64::try_from(before).unwrap_or(i64::MAX)
}

/// Returns the character at an index; none at the end.
pub(super) fn char_at(fuel: &Fuel, text: &str, index: i64) -> Result<String, ExecutionError> {
    fuel.scan(text.len())?;
    let at = usize::try_from(index)
        .ok()
        .and_then(|index| offset(text, index));
    let rest = at.and_then(|at| text.get(at..));
    let rest = rest.ok_or_else(|| out_of_range("charAt", index))?;
    Ok(rest.chars().next().map(String::from).unwrap_or_default())
}

/// Returns the index of the first occurrence of a part, at or after an index; -1 if there is none.
pub(super) fn index_of(
    fuel: &Fuel,
    text: &str,
    part: &str,
    from: Option<i64>,
) -> Result<i64, ExecutionError> {
    fuel.scan(text.len().saturating_add(part.len()))?;
    let at = match from {
        None => 0,
        Some(from) => match search_from(text, part, from, "indexOf")? {
            Searched::Index(index) => return Ok(index),
            Searched::From(at) => at,
        },
    };
    let found = text.get(at..).and_then(|rest| rest.find(part));
    Ok(found.map_or(-1, |found| {
        characters_before(text, at.saturating_add(found))
    }))
}

/// Returns the index of the last occurrence of a part that starts at or before an index; -1 if there is none.
pub(super) fn last_index_of(
    fuel: &Fuel,
    text: &str,
    part: &str,
    to: Option<i64>,
) -> Result<i64, ExecutionError> {
    fuel.scan(text.len().saturating_add(part.len()))?;
    let mut end = text.len();
    if let Some(to) = to {
        match search_from(text, part, to, "lastIndexOf")? {
            Searched::Index(index) => return Ok(index),
            Searched::From(at) => end = at.saturating_add(part.len()).min(end),
        }
    }
    // A part that starts at the index ends at a character, or there is none.
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    let found = text.get(..end).and_then(|before| before.rfind(part));
    Ok(found.map_or(-1, |found| characters_before(text, found)))
}

/// Where a search begins, or its result.
enum Searched {
    Index(i64),
    From(usize),
}

fn search_from(
    text: &str,
    part: &str,
    index: i64,
    function: &str,
) -> Result<Searched, ExecutionError> {
    let Ok(start) = usize::try_from(index) else {
        return Err(out_of_range(function, index));
    };
    let at = offset(text, start);
    if part.is_empty() {
        let end = characters_before(text, text.len());
        return Ok(Searched::Index(index.min(end)));
    }
    match at {
        Some(at) if at < text.len() => Ok(Searched::From(at)),
        _ => Err(out_of_range(function, index)),
    }
}

/// Replaces the first occurrences of a part, all if `times` is negative.
pub(super) fn replace(
    fuel: &Fuel,
    text: &str,
    from: &str,
    to: &str,
    times: i64,
) -> Result<String, ExecutionError> {
    fuel.scan(text.len().saturating_add(from.len()))?;
    let times = usize::try_from(times).unwrap_or(usize::MAX);
    let found = text.matches(from).take(times).count();
    let removed = found.saturating_mul(from.len());
    let added = found.saturating_mul(to.len());
    let length = text.len().saturating_sub(removed).saturating_add(added);
    fuel.produce(1, length)?;
    fuel.step(found as u64)?;
    Ok(text.replacen(from, to, times))
}

/// Splits a text into at most this many parts, all if negative; an empty separator splits between characters.
pub(super) fn split(
    fuel: &Fuel,
    text: &str,
    separator: &str,
    parts: i64,
) -> Result<Vec<String>, ExecutionError> {
    fuel.scan(text.len().saturating_add(separator.len()))?;
    let max = usize::try_from(parts).unwrap_or(usize::MAX);
    if max == 0 {
        return Ok(Vec::new());
    }
    let mut list = Vec::new();
    let push = |list: &mut Vec<String>, part: &str| {
        fuel.produce(1, part.len())?;
        list.push(part.to_owned());
        Ok(())
    };
    if separator.is_empty() {
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let is_last = list.len().saturating_add(1) == max;
            let length = if is_last {
                rest.len()
            } else {
                first.len_utf8()
            };
            let (part, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
            push(&mut list, part)?;
            rest = after;
        }
        return Ok(list);
    }
    for part in text.splitn(max, separator) {
        push(&mut list, part)?;
    }
    Ok(list)
}

/// Returns the characters from an index to another, or to the end.
pub(super) fn substring(
    fuel: &Fuel,
    text: &str,
    from: i64,
    to: Option<i64>,
) -> Result<String, ExecutionError> {
    fuel.scan(text.len())?;
    if let Some(to) = to
        && from > to
    {
        let message = format!("invalid substring range. start: {from}, end: {to}");
        return Err(ExecutionError::function_error("substring", message));
    }
    let at = |index: i64| {
        let at = usize::try_from(index)
            .ok()
            .and_then(|index| offset(text, index));
        at.ok_or_else(|| out_of_range("substring", index))
    };
    let start = at(from)?;
    let end = to.map_or(Ok(text.len()), at)?;
    let part = text.get(start..end).unwrap_or_default();
    fuel.produce(1, part.len())?;
    Ok(part.to_owned())
}
