//! Sites and the code that is written for them.

use super::*;
use crate::mutant::{Function, Position, Span};
use crate::rewrite::{Rewritten, rewrite};

/// A mutant of the first `place` in the text.
fn mutant(text: &str, genre: Genre, place: &str, replacement: &str) -> Mutant {
    let position = |offset: usize| {
        let before = &text[..offset];
        let line = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position {
            line: before.matches('\n').count() + 1,
            column: before[line..].chars().count() + 1,
        }
    };
    let start = text.find(place).expect("it is in the text");
    Mutant {
        name: String::new(),
        file: String::new(),
        span: Span {
            start: position(start),
            end: position(start + place.len()),
        },
        replacement: replacement.to_owned(),
        genre,
        function: Some(Function {
            return_type: String::new(),
        }),
    }
}

fn rewritten(text: &str, mutants: &[Mutant]) -> Rewritten {
    let numbered: Vec<(usize, &Mutant)> = mutants.iter().enumerate().collect();
    let found = find(text, &numbered, &BTreeSet::new()).expect("it is Rust");
    let sites: Vec<(usize, Site)> = (10..).zip(found.sites).collect();
    rewrite(text, &sites, &found.consts, |_| true)
}

#[test]
fn operators_of_an_expression_nest() {
    let text = "fn f() -> u8 { a + b * c }";
    let mutants = [
        mutant(text, Genre::BinaryOperator, "+", "-"),
        mutant(text, Genre::BinaryOperator, "*", "/"),
        mutant(text, Genre::FnValue, "a + b * c", "0"),
    ];
    let expected = "fn f() -> u8 { match crate::mutation::selected(10) { 3 => return 0, _ => {} } \
                    (match crate::mutation::selected(11) { 1 => (a) - (b * c), _ => a + \
                    (match crate::mutation::selected(12) { 2 => (b) / (c), _ => b * c }) }) }";
    assert_eq!(rewritten(text, &mutants).text, expected);
}

#[test]
fn arms_are_skipped_and_guards_replaced() {
    let text = "fn f() { match x { 1 => (), y if y > 2 => (), _ => () } }";
    let mutants = [
        mutant(text, Genre::MatchArm, "1 => (),", ""),
        mutant(text, Genre::MatchArmGuard, "y > 2", "true"),
        mutant(text, Genre::MatchArmGuard, "y > 2", "false"),
    ];
    let expected = "fn f() { match x { 1 if !matches!(crate::mutation::selected(10), 1) => (), \
                    y if (match crate::mutation::selected(11) { 2 => true, 3 => false, _ => y > 2 }) \
                    => (), _ => () } }";
    assert_eq!(rewritten(text, &mutants).text, expected);
}

#[test]
fn field_is_left_to_the_base() {
    let text = "fn f() -> S { S { a: 1, b: 2, ..base } }";
    let mutants = [mutant(text, Genre::StructField, "a: 1,", "")];
    let expected = "fn f() -> S { (match crate::mutation::selected(10) { 1 => S {  b: 2, ..base }, \
                    _ => S { a: 1, b: 2, ..base } }) }";
    assert_eq!(rewritten(text, &mutants).text, expected);
}

#[test]
fn constants_have_no_sites() {
    let text = "const A: u8 = 1 + 2; fn f(x: [u8; 1 - 0]) { if let 3 = x && !y {} }";
    let mutants = [
        mutant(text, Genre::BinaryOperator, "+", "-"),
        mutant(text, Genre::BinaryOperator, "-", "+"),
        mutant(text, Genre::BinaryOperator, "&&", "||"),
    ];
    assert_eq!(rewritten(text, &mutants).text, text);
}

#[test]
fn constant_function_becomes_ordinary() {
    let text = "const fn f() -> bool { !a }";
    let mutants = [mutant(text, Genre::UnaryOperator, "!", "")];
    let changed = rewritten(text, &mutants).text;
    assert!(changed.starts_with("      fn f()"), "{changed}");

    let numbered: Vec<(usize, &Mutant)> = mutants.iter().enumerate().collect();
    let found = find(text, &numbered, &BTreeSet::from(["f".to_owned()])).expect("it is Rust");
    assert!(found.sites.is_empty() && found.consts.is_empty());
}

#[test]
fn error_belongs_to_the_innermost_mutant() {
    let text = "fn f() -> u8 { a + b * c }";
    let mutants = [
        mutant(text, Genre::BinaryOperator, "+", "-"),
        mutant(text, Genre::BinaryOperator, "*", "/"),
    ];
    let rewritten = rewritten(text, &mutants);
    let at = |place| rewritten.text.find(place).expect("it is there");
    assert_eq!(rewritten.mutant_at(at("(a) - ")), [0]);
    assert!(rewritten.mutant_at(at("a + ")).is_empty());
    assert_eq!(rewritten.mutants_around(at("a + ")), [0]);
    assert_eq!(rewritten.mutants_around(at("b * c })")), [1]);
    assert!(rewritten.mutants_around(0).is_empty());
}
