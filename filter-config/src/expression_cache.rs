//! Expressions that were compiled for a configuration: those of one text and role are compiled once.

use std::collections::HashMap;

use crate::expression::{Expression, ExpressionError, Role};

/// The expressions of a configuration while it is read, by their roles and texts.
#[derive(Debug, Default)]
pub(crate) struct ExpressionCache {
    compiled: HashMap<(Role, String), Expression>,
}

// === impl ExpressionCache ===

impl ExpressionCache {
    /// Returns an expression, which shares what is compiled with every other of its role and text.
    ///
    /// # Errors
    ///
    /// As [`Expression::compile`].
    pub(crate) fn compile(
        &mut self,
        source: &str,
        role: Role,
    ) -> Result<Expression, Vec<ExpressionError>> {
        let key = (role, source.to_owned());
        if let Some(known) = self.compiled.get(&key) {
            return Ok(known.clone());
        }
        let expression = Expression::compile(source, role)?;
        self.compiled.insert(key, expression.clone());
        Ok(expression)
    }
}
