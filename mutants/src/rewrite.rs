//! Writes the mutants of a file beside its code.
//!
//! ```text
//! a < b   becomes   (match crate::mutation::selected(7) { 12 => (a) == (b), 13 => (a) > (b), _ => a < b })
//! ```
//!
//! A site is an insertion before and one after its range, so that sites nest in any way. Numbers of mutants
//! begin with one; zero selects none.

use crate::sites::{Kind, Site};
use std::cmp::Reverse;
use std::fmt::Write as _;
use std::ops::Range;

/// The module that branches call, which is written to the root of each crate.
pub(crate) const MODULE: &str = include_str!("rewrite/mutation.rs");

/// A file with its mutants.
#[derive(Debug)]
pub(crate) struct Rewritten {
    pub text: String,
    codes: Vec<Code>,
}

/// The code of a mutant, or of a site with all its mutants.
#[derive(Debug)]
struct Code {
    range: Range<usize>,
    is_site: bool,
    mutants: Vec<usize>,
}

/// Code that is inserted, and which mutants are in which part of it.
struct Insertion {
    at: usize,
    order: Order,
    text: String,
    mutants: Vec<(Range<usize>, usize)>,
    site: usize,
}

/// The order of insertions at one offset: whatever ends there, the inner before the outer, before
/// whatever begins there, the outer before the inner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Ends(usize, Reverse<u8>),
    Begins(Reverse<usize>, u8),
}

/// Writes the mutants of the sites, each with its number, beside the code; `viable` says which.
pub(crate) fn rewrite(
    source: &str,
    sites: &[(usize, Site)],
    consts: &[Range<usize>],
    viable: impl Fn(usize) -> bool,
) -> Rewritten {
    let mut source = source.to_owned();
    for token in consts {
        source.replace_range(token.clone(), &" ".repeat(token.len()));
    }
    let mut insertions = Vec::new();
    for (number, site) in sites {
        let mutants = site.mutants.iter().filter(|(id, _)| viable(*id));
        let mutants: Vec<&(usize, String)> = mutants.collect();
        if !mutants.is_empty() {
            insertions.extend(insertions_of(*number, site, &mutants));
        }
    }
    insertions.sort_by_key(|insertion| (insertion.at, insertion.order));
    apply(&source, insertions)
}

fn insertions_of(number: usize, site: &Site, mutants: &[&(usize, String)]) -> Vec<Insertion> {
    let length = site.range.len();
    let selected = format!("crate::mutation::selected({number})");
    let insertion = |at, order, text| Insertion {
        at,
        order,
        text,
        mutants: Vec::new(),
        site: number,
    };
    if site.kind == Kind::Arm {
        let ids: Vec<String> = mutants.iter().map(|(id, _)| (id + 1).to_string()).collect();
        let text = format!(" if !matches!({selected}, {})", ids.join(" | "));
        let order = Order::Ends(length, Reverse(0));
        let mut arm = insertion(site.range.end, order, text);
        let whole = 0..arm.text.len();
        arm.mutants = mutants.iter().map(|(id, _)| (whole.clone(), *id)).collect();
        return vec![arm];
    }
    let is_body = site.kind == Kind::Body;
    // The statements of a function contain an expression of the same range.
    let priority = u8::from(!is_body);
    let mut text = String::from(if is_body { "" } else { "(" });
    let mut ranges = Vec::new();
    let _ = write!(text, "match {selected} {{ ");
    for (id, code) in mutants {
        let _ = write!(text, "{} => ", id + 1);
        let start = text.len();
        text.push_str(if is_body { "return " } else { "" });
        text.push_str(code);
        ranges.push((start..text.len(), *id));
        text.push_str(", ");
    }
    text.push_str(if is_body { "_ => {} } " } else { "_ => " });
    let order = Order::Begins(Reverse(length), priority);
    let mut before = insertion(site.range.start, order, text);
    before.mutants = ranges;
    let after = if is_body { "" } else { " })" };
    let order = Order::Ends(length, Reverse(priority));
    vec![before, insertion(site.range.end, order, after.to_owned())]
}

/// Makes the insertions, which are in order.
fn apply(source: &str, insertions: Vec<Insertion>) -> Rewritten {
    let mut text = String::with_capacity(source.len() * 2);
    let mut codes = Vec::new();
    let mut open: Vec<(usize, usize, Vec<usize>)> = Vec::new();
    let mut copied = 0;
    for insertion in insertions {
        text.push_str(source.get(copied..insertion.at).unwrap_or_default());
        copied = insertion.at;
        let start = text.len();
        text.push_str(&insertion.text);
        let ids = insertion.mutants.iter().map(|(_, id)| *id).collect();
        codes.extend(insertion.mutants.into_iter().map(|(range, id)| Code {
            range: start + range.start..start + range.end,
            is_site: false,
            mutants: vec![id],
        }));
        let opened = open.iter().rposition(|(site, ..)| *site == insertion.site);
        if let Some(position) = opened {
            let (_, start, mutants) = open.remove(position);
            codes.push(Code {
                range: start..text.len(),
                is_site: true,
                mutants,
            });
        } else {
            open.push((insertion.site, start, ids));
        }
    }
    text.push_str(source.get(copied..).unwrap_or_default());
    Rewritten { text, codes }
}

// === impl Rewritten ===

impl Rewritten {
    /// Returns the mutant in whose code an offset is.
    pub(crate) fn mutant_at(&self, offset: usize) -> &[usize] {
        self.innermost(offset, false)
    }

    /// Returns the mutants of the innermost site around an offset.
    pub(crate) fn mutants_around(&self, offset: usize) -> &[usize] {
        self.innermost(offset, true)
    }

    fn innermost(&self, offset: usize, is_site: bool) -> &[usize] {
        let codes = self.codes.iter();
        let around = codes.filter(|code| code.is_site == is_site && code.range.contains(&offset));
        let innermost = around.min_by_key(|code| code.range.len());
        innermost.map_or(&[], |code| &code.mutants)
    }
}
