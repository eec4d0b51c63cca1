//! Configured places of the numbers of a usage report.

use std::str::FromStr;

use crate::json::{Pointer, PointerError};

#[cfg(test)]
mod tests;

/// A number of a usage report that a configured pointer leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UsageNumber {
    /// Input, including cache reads and cache writes.
    Input,
    /// Output, including reasoning.
    Output,
    /// Total.
    Total,
    /// Cache reads, a part of the input.
    Cached,
}

/// The place of a number in a response: a JSON pointer (RFC 6901), or several pointers joined by `+`
/// whose numbers are added.
///
/// ```
/// use usage_meter::UsagePointer;
///
/// let pointer: UsagePointer = "/meter/prompt + /meter/tools/0/prompt".parse()?;
/// assert_eq!(pointer.terms().len(), 2);
/// # Ok::<_, usage_meter::UsagePointerError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsagePointer {
    text: String,
    terms: Vec<Pointer>,
}

/// The reason why a text is not a [`UsagePointer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsagePointerError {
    /// A part of the sum is not a JSON pointer to a value within the document.
    #[error(transparent)]
    Pointer(#[from] PointerError),
    /// The sum has too many parts.
    #[error("a sum of {0} JSON pointers, expected at most {max}", max = UsagePointer::MAX_TERMS)]
    TooManyTerms(usize),
}

// === impl UsagePointer ===

impl UsagePointer {
    /// The maximum number of pointers whose numbers are added.
    pub const MAX_TERMS: usize = 8;

    /// Returns the text that was parsed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the pointers whose numbers are added.
    #[must_use]
    pub fn terms(&self) -> &[Pointer] {
        &self.terms
    }
}

impl FromStr for UsagePointer {
    type Err = UsagePointerError;

    #[cold]
    fn from_str(text: &str) -> Result<Self, UsagePointerError> {
        let mut terms = Vec::new();
        let mut rest = text;
        while let Some((term, others)) = split_sum(rest) {
            terms.push(term.parse()?);
            rest = others;
        }
        terms.push(rest.parse()?);
        if terms.len() > Self::MAX_TERMS {
            return Err(UsagePointerError::TooManyTerms(terms.len()));
        }
        Ok(Self {
            text: text.to_owned(),
            terms,
        })
    }
}

/// Splits a sum at its first `+` that a pointer follows; every other `+` is a part of a key.
fn split_sum(text: &str) -> Option<(&str, &str)> {
    let parts = text.match_indices('+');
    parts
        .filter_map(|(at, _)| Some((text.get(..at)?, text.get(at..)?.strip_prefix('+')?)))
        .map(|(term, others)| (term.trim_end(), others.trim_start()))
        .find(|(_, others)| others.starts_with('/'))
}
