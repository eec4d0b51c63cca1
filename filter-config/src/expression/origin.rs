//! Finds whether the client or the policy determines the value of an expression.

use cel::common::ast::{EntryExpr, Expr, IdedExpr, operators};

use super::environment::REQUEST_BODY;

/// Returns whether a client can give an expression any value, rather than only choose among those that the policy
/// names: true for `int(request.headers["n"])`, false for `{"a": 1, "b": 2}[request.headers["tier"]]` and for
/// `request.path == "/" ? 1 : 2`.
///
/// It recurses as deep as the text is nested, which is bounded.
pub(super) fn is_client_controlled(expr: &IdedExpr) -> bool {
    match &expr.expr {
        Expr::Ident(name) => {
            let name = name.strip_prefix('.').unwrap_or(name);
            matches!(name, "request" | "llm" | REQUEST_BODY)
        }
        Expr::Literal(_) | Expr::Unspecified => false,
        Expr::Select(select) => is_client_controlled(&select.operand),
        Expr::List(list) => list.elements.iter().any(is_client_controlled),
        Expr::Map(map) => map
            .entries
            .iter()
            .any(|entry| has_client_controlled(&entry.expr)),
        Expr::Struct(message) => message
            .entries
            .iter()
            .any(|entry| has_client_controlled(&entry.expr)),
        Expr::Comprehension(comprehension) => [
            &comprehension.iter_range,
            &comprehension.accu_init,
            &comprehension.loop_step,
            &comprehension.result,
        ]
        .into_iter()
        .any(is_client_controlled),
        Expr::Call(call) => {
            let values = match (call.func_name.as_str(), call.args.as_slice()) {
                (operators::CONDITIONAL, [_, choices @ ..]) => choices,
                // A lookup yields one of the values of the literal.
                (operators::INDEX | operators::OPT_INDEX, [map, _]) if is_literal(map) => {
                    std::slice::from_ref(map)
                }
                (_, args) => args,
            };
            call.target
                .iter()
                .any(|target| is_client_controlled(target))
                || values.iter().any(is_client_controlled)
        }
    }
}

/// Returns whether a client controls the value of an entry. A lookup does not yield its key.
fn has_client_controlled(entry: &EntryExpr) -> bool {
    match entry {
        EntryExpr::StructField(field) => is_client_controlled(&field.value),
        EntryExpr::MapEntry(entry) => is_client_controlled(&entry.value),
    }
}

fn is_literal(expr: &IdedExpr) -> bool {
    matches!(expr.expr, Expr::Map(_) | Expr::List(_))
}
