//! The nodes of a syntax tree.

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr};

/// The arguments of a call, each with its position.
pub(super) type Arguments = Vec<(usize, IdedExpr)>;

/// Returns a node. No code of this crate uses the numbers of nodes.
pub(super) fn node(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}

pub(super) fn entry(expr: EntryExpr) -> IdedEntryExpr {
    IdedEntryExpr { id: 0, expr }
}

pub(super) fn call<const N: usize>(function: &str, args: [IdedExpr; N]) -> IdedExpr {
    node(Expr::Call(CallExpr {
        func_name: function.to_owned(),
        target: None,
        args: args.into(),
    }))
}

/// Joins terms by an operator, as a tree whose depth is the logarithm of their number.
pub(super) fn balanced(function: &str, mut terms: Vec<IdedExpr>) -> IdedExpr {
    let right = terms.split_off(terms.len().div_ceil(2));
    if right.is_empty() {
        return terms.pop().unwrap_or_default();
    }
    call(
        function,
        [balanced(function, terms), balanced(function, right)],
    )
}
