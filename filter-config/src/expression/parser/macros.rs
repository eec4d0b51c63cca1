//! Macros: calls that the parser replaces.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, Expr, IdedExpr, ListExpr, LiteralValue, SelectExpr, operators,
};

use super::tree::{Arguments, call as operator, node};
use crate::expression::environment::{JSON_POINTER, REQUEST_BODY, REQUEST_BODY_JSON};
use crate::expression::syntax::{Parsed, Reason, SyntaxError};

/// The most pointers of one call of `requestBodyJSON`.
const MAX_POINTERS: usize = 16;

/// The variable of a macro's result so far.
const RESULT: &str = "@result";

/// Returns a call, or what a macro makes of it.
pub(super) fn call(name: String, target: Option<IdedExpr>, args: Arguments) -> Parsed {
    let is_macro = matches!(
        (name.as_str(), &target, args.len()),
        (operators::HAS | REQUEST_BODY_JSON, None, 1)
            | (
                operators::ALL
                    | operators::EXISTS
                    | operators::EXISTS_ONE
                    | "existsOne"
                    | operators::MAP
                    | operators::FILTER,
                Some(_),
                2,
            )
            | (operators::MAP, Some(_), 3)
    );
    let mut items = args.into_iter();
    match (is_macro.then(|| items.next()).flatten(), target) {
        (Some((at, first)), None) if name == operators::HAS => has(at, first),
        (Some((_, pointers)), None) => Ok(request_body(pointers)),
        (Some((at, variable)), Some(range)) => {
            let Expr::Ident(iter_var) = &variable.expr else {
                return Err(SyntaxError {
                    at,
                    reason: Reason::Variable,
                });
            };
            let iter_var = iter_var.clone();
            let rest: Vec<IdedExpr> = items.map(|(_, arg)| arg).collect();
            Ok(iteration(&name, range, iter_var, variable, rest))
        }
        (None, target) => Ok(node(Expr::Call(CallExpr {
            func_name: name,
            target: target.map(Box::new),
            args: items.map(|(_, arg)| arg).collect(),
        }))),
    }
}

/// `has(a.b)`
fn has(at: usize, field: IdedExpr) -> Parsed {
    match field.expr {
        Expr::Select(select) => Ok(node(Expr::Select(SelectExpr {
            test: true,
            ..select
        }))),
        _ => Err(SyntaxError {
            at,
            reason: Reason::Has,
        }),
    }
}

/// `requestBodyJSON(pointer)` becomes `@json_pointer(@request_body, pointer)`; of a list, all pointers are arguments.
fn request_body(pointer: IdedExpr) -> IdedExpr {
    let mut args = vec![ident(REQUEST_BODY)];
    match pointer.expr {
        Expr::List(list) if is_list_of_pointers(&list) => args.extend(list.elements),
        _ => args.push(pointer),
    }
    node(Expr::Call(CallExpr {
        func_name: JSON_POINTER.to_owned(),
        target: None,
        args,
    }))
}

/// Returns whether a list can be one of pointers, which are tried in its order: of literal texts, so that it is known
/// which values of the body an expression reads.
fn is_list_of_pointers(list: &ListExpr) -> bool {
    let is_text = |item: &IdedExpr| matches!(item.expr, Expr::Literal(LiteralValue::String(_)));
    (1..=MAX_POINTERS).contains(&list.elements.len())
        && list.optional_indices.is_empty()
        && list.elements.iter().all(is_text)
}

/// A macro that iterates over a range, such as `range.map(variable, rest..)`.
fn iteration(
    name: &str,
    range: IdedExpr,
    iter_var: String,
    variable: IdedExpr,
    mut rest: Vec<IdedExpr>,
) -> IdedExpr {
    let last = rest.pop().unwrap_or_default();
    let filter = rest.pop();
    let result = ident(RESULT);
    let is_true = || boolean(true);
    let not_false = |of| operator(operators::NOT_STRICTLY_FALSE, [of]);
    let add = |item| operator(operators::ADD, [ident(RESULT), list(vec![item])]);
    let when = |condition, step| operator(operators::CONDITIONAL, [condition, step, ident(RESULT)]);
    let (accu_init, loop_cond, loop_step, result) = match name {
        operators::ALL => (
            is_true(),
            not_false(ident(RESULT)),
            operator(operators::LOGICAL_AND, [ident(RESULT), last]),
            result,
        ),
        operators::EXISTS => (
            boolean(false),
            not_false(operator(operators::LOGICAL_NOT, [ident(RESULT)])),
            operator(operators::LOGICAL_OR, [ident(RESULT), last]),
            result,
        ),
        operators::MAP => {
            let step = add(last);
            let step = match filter {
                Some(filter) => when(filter, step),
                None => step,
            };
            (list(Vec::new()), is_true(), step, result)
        }
        operators::FILTER => (
            list(Vec::new()),
            is_true(),
            when(last, add(variable)),
            result,
        ),
        // `exists_one`, by both of its names.
        _ => {
            let more = operator(operators::ADD, [ident(RESULT), int(1)]);
            let is_one = operator(operators::EQUALS, [result, int(1)]);
            (int(0), is_true(), when(last, more), is_one)
        }
    };
    node(Expr::Comprehension(Box::new(ComprehensionExpr {
        iter_range: range,
        iter_var,
        iter_var2: None,
        accu_var: RESULT.to_owned(),
        accu_init,
        loop_cond,
        loop_step,
        result,
    })))
}

fn ident(name: &str) -> IdedExpr {
    node(Expr::Ident(name.to_owned()))
}

fn boolean(value: bool) -> IdedExpr {
    node(Expr::Literal(LiteralValue::Boolean(value.into())))
}

fn int(value: i64) -> IdedExpr {
    node(Expr::Literal(LiteralValue::Int(value.into())))
}

fn list(elements: Vec<IdedExpr>) -> IdedExpr {
    node(Expr::List(ListExpr::new(elements)))
}
