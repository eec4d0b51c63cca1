//! Finds calls that can never succeed because a value is optional, or is not.
//!
//! Only what is certain is rejected. A variable of a macro may be either.

#[cfg(test)]
mod tests;

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};

use super::attribute;
use super::environment::JSON_POINTER;
use super::error::ExpressionError;
use super::role::Role;
use super::yields;

/// The place of an expression: the variables of the enclosing macros, and the role.
#[derive(Clone, Copy)]
pub(super) struct Scope<'e> {
    pub(super) variables: &'e [&'e str],
    pub(super) role: Role,
}

/// The methods of optional values.
const METHODS: [&str; 4] = ["hasValue", "or", "orValue", "value"];

/// The operators that fail with an optional value.
const OPERATORS: [&str; 10] = [
    operators::ADD,
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::NEGATE,
];

/// Returns whether an operator fails with an optional value.
pub(super) fn is_strict(operator: &str) -> bool {
    OPERATORS.contains(&operator)
}

/// Returns the error of a call of a known function or of a strict operator.
pub(super) fn check(call: &CallExpr, scope: Scope<'_>) -> Option<ExpressionError> {
    let name = call.func_name.as_str();
    if METHODS.contains(&name) {
        let target = call.target.as_deref()?;
        return (scope.is_optional(target) == Some(false)).then(|| ExpressionError::NotOptional {
            method: name.to_owned(),
            expected: expected(target),
        });
    }
    if matches!(name, "dyn" | "type") {
        return None;
    }
    let mut values = call.target.as_deref().into_iter().chain(&call.args);
    values
        .any(|value| scope.is_optional(value) == Some(true))
        .then(|| ExpressionError::Optional(name.trim_matches('_').to_owned()))
}

/// Returns what to write instead of a value that is not optional.
fn expected(value: &IdedExpr) -> String {
    let place = match &value.expr {
        Expr::Call(call) if call.func_name == JSON_POINTER => {
            return "a field of `llm`, as in `llm.?max_output_tokens.orValue(500)` for the bound on the output, or a key of an object, as in `requestBodyJSON(\"\").?user.orValue(\"\")`: `requestBodyJSON` is not optional".to_owned();
        }
        Expr::Select(select) => {
            yields::name_of(&select.operand).map(|name| format!("`{name}.?{}`", select.field))
        }
        Expr::Call(call) => match call.args.as_slice() {
            [of_what, key] if call.func_name == operators::INDEX => match &key.expr {
                Expr::Literal(LiteralValue::String(key)) => {
                    yields::name_of(of_what).map(|name| format!("`{name}[?{:?}]`", key.inner()))
                }
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    place.unwrap_or_else(|| "one such as `x.?field` or `x[?\"key\"]`".to_owned())
}

// === impl Scope ===

impl Scope<'_> {
    /// Returns whether the values of an expression are optional, if that is certain.
    fn is_optional(self, expr: &IdedExpr) -> Option<bool> {
        let Expr::Call(call) = &expr.expr else {
            return match &expr.expr {
                Expr::Ident(_) => self.is_attribute(expr, false).then_some(false),
                Expr::Select(select) if !select.test => {
                    self.is_attribute(expr, false).then_some(false)
                }
                _ => yields::of(expr, self.role).map(|_| false),
            };
        };
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::OPT_INDEX | operators::OPT_SELECT | "or", _) => Some(true),
            (operators::CONDITIONAL, [_, one, other]) => {
                let one = self.is_optional(one)?;
                (self.is_optional(other)? == one).then_some(one)
            }
            (operators::INDEX | JSON_POINTER, _) => self.is_attribute(expr, false).then_some(false),
            ("value", _) => None,
            ("orValue", [other]) => {
                let of_what = call.target.as_deref()?;
                let is_value = self.is_attribute(of_what, true);
                self.is_optional(other).filter(|other| is_value && !other)
            }
            _ => yields::of(expr, self.role).map(yields::Type::is_optional),
        }
    }

    /// Returns whether an expression is an attribute, a value of the request's body, or a part of either: these contain
    /// no optional values. `is_through_optional` is whether parts of optional values count.
    fn is_attribute(self, mut expr: &IdedExpr, is_through_optional: bool) -> bool {
        loop {
            expr = match &expr.expr {
                Expr::Select(select) => &select.operand,
                Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
                    (JSON_POINTER, _) => return true,
                    (operators::INDEX, [of_what, _]) => of_what,
                    (operators::OPT_INDEX | operators::OPT_SELECT, [of_what, _])
                        if is_through_optional =>
                    {
                        of_what
                    }
                    _ => return false,
                },
                Expr::Ident(name) => {
                    let absolute = name.strip_prefix('.');
                    let name = absolute.unwrap_or(name);
                    let is_local = absolute.is_none() && self.variables.contains(&name);
                    return !is_local && attribute::roots().any(|root| root == name);
                }
                _ => return false,
            }
        }
    }
}
