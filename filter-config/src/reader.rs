//! Readers of JSON values. Each returns the value, or adds an error and returns [`Invalid`].

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::json::Json;
use crate::path::Path;
use crate::suggestion::one_of;

/// Adds the error of a value that its place does not accept.
pub(crate) fn unexpected(
    json: &Json,
    expected: impl Into<String>,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Invalid {
    let kind = ErrorKind::Unexpected {
        found: json.found(),
        expected: expected.into(),
    };
    errors.push(path, kind)
}

/// Reads the entries of an object, in order. Repeated keys are errors.
pub(crate) fn entries<'a>(
    json: &'a Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<&'a [(String, Json)], Invalid> {
    let Json::Object(entries) = json else {
        return Err(unexpected(json, "an object", path, errors));
    };
    let mut seen = BTreeSet::new();
    for (name, _) in entries {
        if !seen.insert(name.as_str()) {
            errors.push(&path.field(name), ErrorKind::DuplicateField);
        }
    }
    Ok(entries)
}

/// Reads a list of at most `max` items. `unit` names the items.
pub(crate) fn list<'a>(
    json: &'a Json,
    unit: &'static str,
    max: usize,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<&'a [Json], Invalid> {
    let Json::Array(items) = json else {
        return Err(unexpected(json, "a list", path, errors));
    };
    at_most(items.len(), unit, max, path, errors)?;
    Ok(items)
}

/// Checks that there are at most `max` of something.
pub(crate) fn at_most(
    found: usize,
    unit: &'static str,
    max: usize,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<(), Invalid> {
    if found > max {
        return Err(errors.push(path, ErrorKind::TooMany { found, unit, max }));
    }
    Ok(())
}

/// Reads a string of 1 to `max` bytes.
pub(crate) fn text<'a>(
    json: &'a Json,
    max: usize,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<&'a str, Invalid> {
    let Json::String(text) = json else {
        return Err(unexpected(json, "a string", path, errors));
    };
    if text.trim().is_empty() {
        return Err(errors.push(path, ErrorKind::Empty));
    }
    at_most(text.len(), "bytes", max, path, errors)?;
    Ok(text)
}

/// Reads a name of at most `max` bytes, without control characters and white space.
pub(crate) fn name(
    json: &Json,
    max: usize,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<String, Invalid> {
    let name = text(json, max, path, errors)?;
    check_name(name, path, errors)?;
    Ok(name.to_owned())
}

/// Checks that a text has no control characters.
pub(crate) fn check_printable(
    text: &str,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<(), Invalid> {
    if text.chars().any(char::is_control) {
        let kind = ErrorKind::Unexpected {
            found: Json::String(text.to_owned()).found(),
            expected: "a name without control characters".to_owned(),
        };
        return Err(errors.push(path, kind));
    }
    Ok(())
}

/// Checks that a text can be a name.
pub(crate) fn check_name(
    name: &str,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<(), Invalid> {
    if name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        let kind = ErrorKind::Unexpected {
            found: Json::String(name.to_owned()).found(),
            expected: "a name without white space and control characters".to_owned(),
        };
        return Err(errors.push(path, kind));
    }
    Ok(())
}

/// Reads an integer within a range. As everywhere that a number is meant, it can be a text.
pub(crate) fn whole(
    json: &Json,
    range: &RangeInclusive<u64>,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<u64, Invalid> {
    match json.number() {
        Some(Json::Whole(value)) if range.contains(&value) => Ok(value),
        _ => {
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            Err(unexpected(json, expected, path, errors))
        }
    }
}

/// Reads an integer within a range, as a count of things in memory.
pub(crate) fn count(
    json: &Json,
    range: &RangeInclusive<u64>,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<usize, Invalid> {
    let count = whole(json, range, path, errors)?;
    usize::try_from(count).map_err(|_| Invalid)
}

/// Reads a fraction within a range of parts per million, which is also what it returns: `0.8` is 800 000.
pub(crate) fn fraction(
    json: &Json,
    range: &RangeInclusive<u32>,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<u32, Invalid> {
    const ONE: f64 = 1_000_000.0;
    if let Some(Json::Number(value)) = json.number() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the cast saturates, and the range excludes what it saturates to"
        )]
        let parts = (value * ONE).round() as u32;
        if range.contains(&parts) {
            return Ok(parts);
        }
    }
    let [min, max] = [range.start(), range.end()].map(|parts| f64::from(*parts) / ONE);
    let expected = format!("a fraction from {min} to {max}");
    Err(unexpected(json, expected, path, errors))
}

/// Reads `true` or `false`.
pub(crate) fn boolean(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<bool, Invalid> {
    match json {
        Json::Bool(value) => Ok(*value),
        _ => Err(unexpected(json, "true or false", path, errors)),
    }
}

/// Reads one of a set of words, each given with its meaning.
pub(crate) fn choice<T: Copy>(
    json: &Json,
    choices: &[(&str, T)],
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<T, Invalid> {
    if let Json::String(word) = json
        && let Some((_, value)) = choices.iter().find(|(name, _)| name == word)
    {
        return Ok(*value);
    }
    let words: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    Err(unexpected(json, one_of(&words), path, errors))
}

/// Reads one of a set of words as [`choice`] does, or `alias`, which is a former name of one of them.
pub(crate) fn choice_or_alias<T: Copy>(
    json: &Json,
    choices: &[(&str, T)],
    alias: (&str, T),
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<T, Invalid> {
    match json {
        Json::String(word) if word == alias.0 => Ok(alias.1),
        _ => choice(json, choices, path, errors),
    }
}
