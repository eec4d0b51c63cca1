//! Tests of the bounds of nesting.

use proptest::prelude::*;

use super::{MAX_BRACKETS, MAX_OPERANDS};
use crate::expression::ExpressionError;
use crate::expression::parser::parse;

fn is_too_deep(source: &str) -> bool {
    matches!(parse(source), Err(ExpressionError::TooDeep { .. }))
}

/// A number in brackets.
fn nested(brackets: usize) -> String {
    format!("{}1{}", "(".repeat(brackets), ")".repeat(brackets))
}

#[test]
fn one_bracket_beyond_the_bound_is_rejected() {
    assert!(is_too_deep(&nested(MAX_BRACKETS + 1)));
}

#[test]
fn deep_nesting_is_rejected() {
    let many = 2000;
    for (start, each, end) in [
        ("", "(", "1"),
        ("", "[", "1"),
        ("", "{", "1"),
        ("", "!(", "1"),
        ("a", ".b", ""),
        ("a", ".?b", ""),
        ("a", "[?0]", ""),
        ("1", "+1", ""),
        ("a", "[0]", ""),
        ("a", ".f()", ""),
        ("a", " in b", ""),
        ("'a'", "+'a'", ""),
        ("", "a.all(x,", "true"),
        ("", "r'\\'(", "1"),
        ("", "(')',", "1"),
        ("", "(\")\" + '\\')' +", "1"),
        ("", "( // )\n", "1"),
    ] {
        let source = format!("{start}{}{end}", each.repeat(many));
        assert!(is_too_deep(&source), "{each}");
    }
}

#[test]
fn usual_nesting_is_accepted() {
    let words: Vec<String> = (0..200).map(|n| format!("\"model-{n}\"")).collect();
    for source in [
        format!("request.path in [{}]", words.join(", ")),
        vec!["request.path == \"/v1\""; 100].join(" || "),
        "auth.groups.split(\",\").exists(g, g == \"(((((((((((((((((((((((((((\")".to_owned(),
        "'''it's (((((((((((((((((((((((((((''' == r\"\\(\"".to_owned(),
        nested(MAX_BRACKETS),
        vec!["1"; MAX_OPERANDS].join("+"),
    ] {
        assert!(parse(&source).is_ok(), "{source}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // If the check accepts too much, the parser overflows the stack, which aborts the test.
    #[test]
    fn accepted_nesting_parses_without_overflow(source in "(\\(|\\)|\\[|\\]|\\{|\\}|'|\"|r|b|\\\\|\\?|:|,|\\.|!|-|a|1|\\+|//|\n| in |has\\(a\\.b|\\.all\\(x){0,200}") {
        let _ = parse(&source);
    }
}
