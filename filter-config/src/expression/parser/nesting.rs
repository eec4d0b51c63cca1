//! Bounds the nesting of an expression, by its tokens.
//!
//! The parser and the evaluator recurse, and the stack of a Wasm module is small: an expression that would exhaust it
//! has to be rejected before it is parsed.

use super::lexer::{Kind, Token};
use crate::expression::error::ExpressionError;

/// Nested brackets.
const MAX_BRACKETS: usize = 23;

/// Names and literals that operators and selections join, such as the three of `a.b + 1`, over all open brackets.
const MAX_OPERANDS: usize = 256;

/// Checks the nesting of an expression.
///
/// # Errors
///
/// An expression that is nested too deeply.
pub(super) fn check(tokens: &[Token]) -> Result<(), ExpressionError> {
    // The operands in a row outside of brackets, and in each open bracket.
    let mut levels: Vec<usize> = vec![0];
    let mut before = None;
    for token in tokens {
        let is_after_dot = before == Some(Kind::Symbol("."));
        before = Some(token.kind);
        match token.kind {
            // An optional selection nests as deeply as another one.
            Kind::Symbol("?") if is_after_dot => {}
            Kind::Symbol("(" | "[" | "{") => {
                count(&mut levels);
                levels.push(0);
            }
            Kind::Symbol(")" | "]" | "}") if levels.len() > 1 => {
                levels.pop();
            }
            // The parser balances trees of && and ||, and itself bounds the depth of ?:.
            Kind::Symbol("," | "&&" | "||" | "?" | ":") => {
                if let Some(level) = levels.last_mut() {
                    *level = 0;
                }
            }
            Kind::Symbol("true" | "false" | "null") => count(&mut levels),
            Kind::Symbol(_) | Kind::Unknown | Kind::IllFormed | Kind::End => {}
            Kind::Name | Kind::Int | Kind::Uint | Kind::Double | Kind::String | Kind::Bytes => {
                count(&mut levels);
            }
        }
        let operands = levels
            .iter()
            .fold(0_usize, |sum, level| sum.saturating_add(*level));
        // The first level is outside of brackets.
        let brackets = levels.len().saturating_sub(1);
        if brackets > MAX_BRACKETS || operands > MAX_OPERANDS {
            return Err(ExpressionError::TooDeep {
                brackets: MAX_BRACKETS,
                operands: MAX_OPERANDS,
            });
        }
    }
    Ok(())
}

fn count(levels: &mut [usize]) {
    if let Some(level) = levels.last_mut() {
        *level = level.saturating_add(1);
    }
}

#[cfg(test)]
mod tests;
