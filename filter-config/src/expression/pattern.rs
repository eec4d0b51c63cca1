//! The function `matches`: regular expressions, compiled once.
//!
//! The function of the `cel` crate compiles a pattern at every evaluation, with an engine that would be a fifth of the
//! module. This engine is small, and takes linear time as well. It lacks Unicode classes (`\p{Greek}`); `\d`, `\w` and
//! `\s` are ASCII, as in CEL (RE2).

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use cel::ExecutionError;
use cel::common::types::{CelBool, CelString};
use cel::common::value::CowVal;
use regex_lite::Regex;

/// Compiled patterns that are kept. A policy has fewer. Patterns from requests could exceed it, and then all are
/// dropped.
const MAX_COMPILED: usize = 256;

thread_local! {
    static COMPILED: RefCell<HashMap<String, Rc<Regex>>> = RefCell::default();
}

/// The function `matches(text, pattern)`: returns whether the pattern matches anywhere in the text.
///
/// # Errors
///
/// An error of the function if the pattern is not a regular expression.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature of a CEL function"
)]
pub(super) fn matches<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let mut texts = args.iter().map(|arg| arg.downcast_ref::<CelString>());
    let (Some(Some(text)), Some(Some(pattern))) = (texts.next(), texts.next()) else {
        return Err(ExecutionError::missing_argument_or_target());
    };
    let regex = compiled(pattern.inner())
        .map_err(|message| ExecutionError::function_error("matches", message))?;
    Ok(CowVal::owned(CelBool::from(regex.is_match(text.inner()))))
}

/// Checks that a text is a regular expression.
///
/// # Errors
///
/// The message of the engine.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    compiled(pattern).map(|_| ())
}

fn compiled(pattern: &str) -> Result<Rc<Regex>, String> {
    COMPILED.with_borrow_mut(|compiled| {
        if let Some(regex) = compiled.get(pattern) {
            return Ok(Rc::clone(regex));
        }
        let regex = Rc::new(Regex::new(pattern).map_err(|error| error.to_string())?);
        if compiled.len() >= MAX_COMPILED {
            compiled.clear();
        }
        compiled.insert(pattern.to_owned(), Rc::clone(&regex));
        Ok(regex)
    })
}
