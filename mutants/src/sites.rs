//! Where in a source file the branches of its mutants go.

#[cfg(test)]
mod tests;

use crate::mutant::{Genre, Mutant};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Block, Expr, Signature};

/// A place with the mutants of it. Ranges are in bytes of the file.
#[derive(Debug)]
pub(crate) struct Site {
    /// What a mutant replaces as a whole: the statements of a function, an expression or the pattern of an arm.
    pub range: Range<usize>,
    pub kind: Kind,
    /// Each mutant with the code that replaces the range.
    pub mutants: Vec<(usize, String)>,
}

/// What is at a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The statements of a function, which a mutant leaves at once.
    Body,
    /// An expression.
    Expression,
    /// The pattern of an arm that a mutant skips.
    Arm,
}

/// What is found in a file.
#[derive(Debug, Default)]
pub(crate) struct Sites {
    pub sites: Vec<Site>,
    /// The words `const` of functions that a branch would make impossible.
    pub consts: Vec<Range<usize>>,
}

/// Finds the sites of a file's mutants. Mutants that no branch can be made of have none: those in constants and
/// in functions with names in `constant`, which constants call, values of `impl Trait`, and `let` chains.
pub(crate) fn find(
    text: &str,
    mutants: &[(usize, &Mutant)],
    constant: &BTreeSet<String>,
) -> syn::Result<Sites> {
    let file = syn::parse_file(text)?;
    let mut pending: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for &(id, mutant) in mutants {
        if let (Some(start), Some(end)) =
            (mutant.span.start.offset(text), mutant.span.end.offset(text))
        {
            let place = (start, mutant.genre as u8);
            pending.entry(place).or_default().push((id, mutant, end));
        }
    }
    let mut finder = Finder {
        text,
        pending,
        constant,
        found: Sites::default(),
    };
    finder.visit_file(&file);
    Ok(finder.found)
}

struct Finder<'a> {
    text: &'a str,
    /// Mutants by where they start and their kind.
    pending: BTreeMap<(usize, u8), Vec<Pending<'a>>>,
    constant: &'a BTreeSet<String>,
    found: Sites,
}

/// A mutant without a site, with its number and its end.
type Pending<'a> = (usize, &'a Mutant, usize);

// === impl Finder ===

impl<'a> Finder<'a> {
    fn take(&mut self, start: usize, genre: Genre) -> Vec<Pending<'a>> {
        self.pending
            .remove(&(start, genre as u8))
            .unwrap_or_default()
    }

    fn text(&self, range: Range<usize>) -> &'a str {
        self.text.get(range).unwrap_or_default()
    }

    fn add(&mut self, range: Range<usize>, kind: Kind, mutants: Vec<(usize, String)>) {
        if !mutants.is_empty() {
            self.found.sites.push(Site {
                range,
                kind,
                mutants,
            });
        }
    }

    /// Adds the sites of a function, or none if it has to stay constant.
    fn function(&mut self, signature: &Signature, block: &Block, inside: impl FnOnce(&mut Self)) {
        let before = self.found.sites.len();
        let is_const = signature.constness.is_some();
        if is_const && self.constant.contains(&signature.ident.to_string()) {
            return;
        }
        if let (Some(first), Some(last)) = (block.stmts.first(), block.stmts.last()) {
            let range = first.span().byte_range().start..last.span().byte_range().end;
            let mutants = self.take(range.start, Genre::FnValue);
            // Both values of a function that returns `impl Trait` would have to be of one type.
            let mutants = mutants
                .into_iter()
                .filter(|(_, mutant, _)| {
                    let function = mutant.function.as_ref();
                    function.is_some_and(|function| !function.return_type.contains("impl "))
                })
                .map(|(id, mutant, _)| (id, mutant.replacement.clone()));
            let mutants = mutants.collect();
            self.add(range, Kind::Body, mutants);
        }
        inside(self);
        if let Some(token) = &signature.constness
            && self.found.sites.len() > before
        {
            self.found.consts.push(token.span.byte_range());
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'ast syn::TraitItemConst) {}
    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}
    fn visit_type_array(&mut self, _: &'ast syn::TypeArray) {}
    fn visit_variant(&mut self, _: &'ast syn::Variant) {}
    fn visit_pat(&mut self, _: &'ast syn::Pat) {}

    fn visit_expr_repeat(&mut self, node: &'ast syn::ExprRepeat) {
        self.visit_expr(&node.expr);
    }

    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        self.function(&node.sig, &node.block, |finder| {
            visit::visit_item_fn(finder, node);
        });
    }

    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        self.function(&node.sig, &node.block, |finder| {
            visit::visit_impl_item_fn(finder, node);
        });
    }

    fn visit_trait_item_fn(&mut self, node: &'ast syn::TraitItemFn) {
        let Some(block) = &node.default else {
            return;
        };
        self.function(&node.sig, block, |finder| {
            visit::visit_trait_item_fn(finder, node);
        });
    }

    fn visit_expr_binary(&mut self, node: &'ast syn::ExprBinary) {
        let start = node.op.span().byte_range().start;
        let mutants = self.take(start, Genre::BinaryOperator);
        // A condition with `let` is only one as a whole.
        if !has_let(&node.left) && !has_let(&node.right) {
            let left = self.text(node.left.span().byte_range());
            let right = self.text(node.right.span().byte_range());
            let mutants = mutants.into_iter().map(|(id, mutant, _)| {
                let operator = &mutant.replacement;
                let code = if is_assignment(&node.op) {
                    format!("{left} {operator} {right}")
                } else {
                    format!("({left}) {operator} ({right})")
                };
                (id, code)
            });
            let mutants = mutants.collect();
            self.add(node.span().byte_range(), Kind::Expression, mutants);
        }
        visit::visit_expr_binary(self, node);
    }

    fn visit_expr_unary(&mut self, node: &'ast syn::ExprUnary) {
        let range = node.span().byte_range();
        let mutants = self.take(range.start, Genre::UnaryOperator);
        let operand = self.text(node.expr.span().byte_range());
        let mutants = mutants.into_iter();
        let mutants = mutants.map(|(id, _, _)| (id, operand.to_owned())).collect();
        self.add(range, Kind::Expression, mutants);
        visit::visit_expr_unary(self, node);
    }

    fn visit_expr_struct(&mut self, node: &'ast syn::ExprStruct) {
        let range = node.span().byte_range();
        let mut mutants = Vec::new();
        for field in &node.fields {
            let start = field.span().byte_range().start;
            for (id, _, end) in self.take(start, Genre::StructField) {
                let before = self.text(range.start..start);
                let after = self.text(end..range.end);
                mutants.push((id, format!("{before}{after}")));
            }
        }
        self.add(range, Kind::Expression, mutants);
        visit::visit_expr_struct(self, node);
    }

    fn visit_expr_match(&mut self, node: &'ast syn::ExprMatch) {
        // An arm that a mutant skips has a guard, and does not count towards exhaustiveness.
        let is_catch_all =
            |arm: &syn::Arm| matches!(arm.pat, syn::Pat::Wild(_)) && arm.guard.is_none();
        if !node.arms.iter().any(is_catch_all) {
            for arm in &node.arms {
                self.take(arm.span().byte_range().start, Genre::MatchArm);
            }
        }
        visit::visit_expr_match(self, node);
    }

    fn visit_arm(&mut self, node: &'ast syn::Arm) {
        let start = node.span().byte_range().start;
        let mutants = self.take(start, Genre::MatchArm);
        let mutants = mutants.into_iter().map(|(id, _, _)| (id, String::new()));
        let mutants = mutants.collect();
        self.add(node.pat.span().byte_range(), Kind::Arm, mutants);
        if let Some((_, guard)) = &node.guard
            && !has_let(guard)
        {
            let range = guard.span().byte_range();
            let mutants = self.take(range.start, Genre::MatchArmGuard);
            let mutants = mutants.into_iter();
            let mutants = mutants
                .map(|(id, mutant, _)| (id, mutant.replacement.clone()))
                .collect();
            self.add(range, Kind::Expression, mutants);
        }
        visit::visit_arm(self, node);
    }
}

/// Whether a condition is `let`, or a chain with one.
fn has_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(node) => {
            matches!(node.op, BinOp::And(_)) && (has_let(&node.left) || has_let(&node.right))
        }
        _ => false,
    }
}

fn is_assignment(operator: &BinOp) -> bool {
    use BinOp::{
        AddAssign, BitAndAssign, BitOrAssign, BitXorAssign, DivAssign, MulAssign, RemAssign,
        ShlAssign, ShrAssign, SubAssign,
    };
    matches!(
        operator,
        AddAssign(_)
            | BitAndAssign(_)
            | BitOrAssign(_)
            | BitXorAssign(_)
            | DivAssign(_)
            | MulAssign(_)
            | RemAssign(_)
            | ShlAssign(_)
            | ShrAssign(_)
            | SubAssign(_)
    )
}
