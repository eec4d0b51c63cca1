//! Regular expressions, for the function `matches` and for routes.
//!
//! The function of the `cel` crate compiles a pattern at every evaluation, with an engine that would be a fifth of the
//! module. This engine is small. Its time is proportional to the length of the text times the size of the pattern, so
//! both are bounded. It lacks Unicode classes (`\p{Greek}`); `\d`, `\w` and `\s` are ASCII, as in CEL (RE2).

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use cel::ExecutionError;
use regex_lite::{Regex, RegexBuilder};

/// The longest text that is searched.
pub(crate) const MAX_MATCHED_BYTES: usize = 16 << 10;

/// The largest compiled pattern, in bytes of memory.
const MAX_COMPILED_BYTES: usize = 64 << 10;

/// Bytes of memory that a state of a compiled pattern takes: a few pointers and numbers.
const BYTES_OF_STATE: usize = 4 * size_of::<usize>();

/// The states of the smallest pattern.
const MIN_STATES: usize = 4;

/// States that are visited in a step: each may be active at each byte of a text.
const VISITED_STATES_OF_STEP: u64 = 2;

/// The longest pattern that a request can contain. A pattern of the configuration can be longer.
const MAX_REQUEST_PATTERN_BYTES: usize = 1 << 10;

/// Compiled patterns that are kept of those that are not literals. At most this many times the largest take memory.
const MAX_KEPT: usize = 32;

/// A compiled regular expression.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    /// Its size in memory, rounded up.
    bytes: usize,
    /// The beginning of every text that it matches.
    prefix: String,
}

/// How precisely the size of a pattern is found.
#[derive(Clone, Copy)]
enum Precision {
    /// Within a quarter.
    Fine,
    /// Within a factor of two, with less work.
    Coarse,
}

/// A reason not to compile a pattern.
enum Unusable {
    Invalid(regex_lite::Error),
    Unpaid(ExecutionError),
}

thread_local! {
    static KEPT: RefCell<HashMap<String, Rc<Pattern>>> = RefCell::default();
}

// === impl Unusable ===

impl From<regex_lite::Error> for Unusable {
    fn from(error: regex_lite::Error) -> Self {
        Self::Invalid(error)
    }
}

// === impl Pattern ===

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    ///
    /// The message of the engine, also for a pattern that is too large.
    pub(crate) fn new(pattern: &str) -> Result<Self, regex_lite::Error> {
        Self::compile(pattern, Precision::Fine, |_| Ok(()))
    }

    /// Compiles a pattern that has to match a text as a whole.
    ///
    /// # Errors
    ///
    /// As [`Pattern::new`].
    pub(crate) fn whole(pattern: &str) -> Result<Self, regex_lite::Error> {
        // By itself first, as `a)|(b` would be valid within the group.
        Self::new(pattern)?;
        Ok(Self {
            prefix: prefix(pattern),
            ..Self::new(&format!("^(?:{pattern})$"))?
        })
    }

    /// Compiles a pattern, for which `pay` pays by the size that it may have.
    fn compile<E: From<regex_lite::Error>>(
        pattern: &str,
        precision: Precision,
        pay: impl Fn(usize) -> Result<(), E>,
    ) -> Result<Self, E> {
        // The engine does not report a size, but rejects a pattern that is larger than a limit.
        let mut bytes = MIN_STATES * BYTES_OF_STATE;
        loop {
            pay(bytes)?;
            let compiled = RegexBuilder::new(pattern).size_limit(bytes).build();
            match compiled {
                Err(error) if bytes >= MAX_COMPILED_BYTES => return Err(error.into()),
                Err(_) => {
                    bytes = bytes.saturating_add(match precision {
                        Precision::Fine => bytes / 4,
                        Precision::Coarse => bytes,
                    });
                }
                Ok(regex) => {
                    return Ok(Self {
                        regex,
                        bytes,
                        prefix: String::new(),
                    });
                }
            }
        }
    }

    /// Returns a pattern that is not part of the configuration, compiled now or kept from before. `pay` pays for as
    /// many bytes as are compiled.
    ///
    /// # Errors
    ///
    /// An error of the function `matches`, or of `pay`.
    pub(super) fn of_request(
        pattern: &str,
        pay: impl Fn(usize) -> Result<(), ExecutionError>,
    ) -> Result<Rc<Self>, ExecutionError> {
        let invalid = |message: String| ExecutionError::function_error("matches", message);
        if pattern.len() > MAX_REQUEST_PATTERN_BYTES {
            return Err(invalid("pattern too long".to_owned()));
        }
        KEPT.with_borrow_mut(|kept| {
            if let Some(compiled) = kept.get(pattern) {
                // As if it had to be compiled: what an evaluation takes does not depend on others.
                pay(compiled
                    .bytes
                    .saturating_mul(2)
                    .saturating_add(pattern.len()))?;
                return Ok(Rc::clone(compiled));
            }
            let compiled = Self::compile(pattern, Precision::Coarse, |bytes| {
                pay(bytes.saturating_add(pattern.len())).map_err(Unusable::Unpaid)
            });
            let compiled = Rc::new(compiled.map_err(|error| match error {
                Unusable::Unpaid(error) => error,
                Unusable::Invalid(error) => invalid(error.to_string()),
            })?);
            if kept.len() >= MAX_KEPT {
                kept.clear();
            }
            kept.insert(pattern.to_owned(), Rc::clone(&compiled));
            Ok(compiled)
        })
    }

    /// Returns the steps that a search of a text takes at most.
    pub(crate) fn steps(&self, text: &str) -> u64 {
        if !text.starts_with(&self.prefix) {
            return 0;
        }
        let states = (self.bytes / BYTES_OF_STATE) as u64;
        // Before each byte, and at the end.
        let positions = (text.len() as u64).saturating_add(1);
        states.saturating_mul(positions) / VISITED_STATES_OF_STEP
    }

    /// Returns whether the pattern matches anywhere in a text, which has to be of at most [`MAX_MATCHED_BYTES`].
    pub(crate) fn is_match(&self, text: &str) -> Option<bool> {
        (text.len() <= MAX_MATCHED_BYTES)
            .then(|| text.starts_with(&self.prefix) && self.regex.is_match(text))
    }

    /// Returns the length of the pattern.
    pub(crate) fn length(&self) -> usize {
        self.regex.as_str().len()
    }
}

/// Returns the text with which every text begins that a pattern matches as a whole; empty if it is not obvious.
fn prefix(pattern: &str) -> String {
    if pattern.contains('|') {
        return String::new();
    }
    let is_literal =
        |character: char| character.is_ascii_alphanumeric() || "/-_".contains(character);
    let rest = pattern.trim_start_matches(is_literal);
    let mut prefix = pattern.strip_suffix(rest).unwrap_or_default().to_owned();
    // The last character may be repeated, or not there.
    if rest.starts_with(['*', '?', '+', '{']) {
        prefix.pop();
    }
    prefix
}
