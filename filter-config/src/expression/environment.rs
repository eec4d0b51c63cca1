//! The CEL environment that expressions are compiled and evaluated in.

use std::sync::{Arc, LazyLock};

use cel::common::ast::{CallExpr, Expr, IdedExpr, ListExpr, LiteralValue};
use cel::common::types::{DYN_TYPE, STRING_TYPE};
use cel::parser::Macro;
use cel::{DeclarationError, Env, extensions};

use super::pointer;

/// The variable of the request's body as JSON. No expression can contain this name; the macro `requestBodyJSON`
/// expands to it.
pub const REQUEST_BODY: &str = "@request_body";

/// The name of the macro that reads the request's body.
pub(super) const REQUEST_BODY_JSON: &str = "requestBodyJSON";

/// The name of the function that the macro expands to, which no expression can contain either.
pub(super) const JSON_POINTER: &str = "@json_pointer";

/// The most pointers of one call of `requestBodyJSON`.
const MAX_POINTERS: usize = 16;

/// Returns the environment of every expression: CEL's standard library and strings extension, and `requestBodyJSON`,
/// which reads the variable [`REQUEST_BODY`].
#[must_use]
pub(super) fn environment() -> Arc<Env> {
    static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
        // The declarations are constant, and a test shows that they succeed. If one failed all the same, the
        // expressions that need it would fail to evaluate, rather than yield a wrong value.
        Arc::new(declare().unwrap_or_else(|_| Env::stdlib()))
    });
    Arc::clone(&ENVIRONMENT)
}

pub(super) fn declare() -> Result<Env, DeclarationError> {
    let mut env = Env::stdlib();
    env.add_extension(extensions::strings)?;
    env.add_overload(
        JSON_POINTER,
        "json_pointer_dyn_string",
        vec![DYN_TYPE, STRING_TYPE],
        pointer::walk,
    )?;
    // `requestBodyJSON(pointer)` becomes `@json_pointer(@request_body, pointer)`; of a list, all pointers are arguments.
    env.add_macro(Macro::global(REQUEST_BODY_JSON, 1, |helper, _, args| {
        let Some(pointer) = args.pop() else {
            return Ok(None);
        };
        let mut args = vec![helper.next_expr(Expr::Ident(REQUEST_BODY.to_owned()))];
        match pointer.expr {
            Expr::List(list) if is_list_of_pointers(&list) => args.extend(list.elements),
            _ => args.push(pointer),
        }
        Ok(Some(helper.next_expr(Expr::Call(CallExpr {
            func_name: JSON_POINTER.to_owned(),
            target: None,
            args,
        }))))
    }))?;
    Ok(env)
}

/// Returns whether a list can be one of pointers, which are tried in its order: of literal texts, so that it is known
/// which values of the body an expression reads.
fn is_list_of_pointers(list: &ListExpr) -> bool {
    let is_text = |item: &IdedExpr| matches!(item.expr, Expr::Literal(LiteralValue::String(_)));
    (1..=MAX_POINTERS).contains(&list.elements.len())
        && list.optional_indices.is_empty()
        && list.elements.iter().all(is_text)
}
