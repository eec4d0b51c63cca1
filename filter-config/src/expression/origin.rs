//! Who decides on the value of an expression: the policy, or the caller by what he sends.

use cel::common::ast::{EntryExpr, Expr, IdedExpr, operators};

use super::environment::REQUEST_BODY;

/// Whether a caller can make the value of an expression anything he likes, rather than only choose
/// among those that the policy names: `int(request.headers["n"])`, but neither
/// `{"a": 1, "b": 2}[request.headers["tier"]]` nor `request.path == "/" ? 1 : 2`.
///
/// It recurses as deep as the text is nested, which is bounded.
pub(super) fn is_callers(expr: &IdedExpr) -> bool {
    match &expr.expr {
        Expr::Ident(name) => {
            let name = name.strip_prefix('.').unwrap_or(name);
            matches!(name, "request" | "llm" | REQUEST_BODY)
        }
        Expr::Literal(_) | Expr::Unspecified => false,
        Expr::Select(select) => is_callers(&select.operand),
        Expr::List(list) => list.elements.iter().any(is_callers),
        Expr::Map(map) => map.entries.iter().any(|entry| has_callers(&entry.expr)),
        Expr::Struct(message) => message.entries.iter().any(|entry| has_callers(&entry.expr)),
        Expr::Comprehension(comprehension) => [
            &comprehension.iter_range,
            &comprehension.accu_init,
            &comprehension.loop_step,
            &comprehension.result,
        ]
        .into_iter()
        .any(is_callers),
        Expr::Call(call) => {
            let among = match (call.func_name.as_str(), call.args.as_slice()) {
                (operators::CONDITIONAL, [_, choices @ ..]) => choices,
                // Of what is looked up, only what is in the map matters.
                (operators::INDEX | operators::OPT_INDEX, [map, _]) if is_literal(map) => {
                    std::slice::from_ref(map)
                }
                (_, args) => args,
            };
            call.target.iter().any(|target| is_callers(target)) || among.iter().any(is_callers)
        }
    }
}

/// Whether an entry of a map has a value that a caller decides on. Its key does not matter.
fn has_callers(entry: &EntryExpr) -> bool {
    match entry {
        EntryExpr::StructField(field) => is_callers(&field.value),
        EntryExpr::MapEntry(entry) => is_callers(&entry.value),
    }
}

fn is_literal(expr: &IdedExpr) -> bool {
    matches!(expr.expr, Expr::Map(_) | Expr::List(_))
}
