//! Tests of the bounds of nesting.

use proptest::prelude::*;

use super::{MAX_BRACKETS, MAX_OPERANDS, check};
use crate::expression::ExpressionError;

fn is_too_deep(source: &str) -> bool {
    matches!(check(source), Err(ExpressionError::TooDeep { .. }))
}

fn is_ill_formed(source: &str) -> bool {
    matches!(check(source), Err(ExpressionError::Syntax { .. }))
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
        assert_eq!(check(&source), Ok(()), "{source}");
    }
}

#[test]
fn malformed_literals_are_rejected() {
    for source in [
        "'", "'a\n'", "\"a", "'''a''", "'\\q'", "'\\x0'", "'\\u12'", "'\\9'", "`a`", "1r'a'",
    ] {
        assert!(is_ill_formed(source), "{source}");
    }
}

#[test]
fn literal_errors_have_their_position() {
    let error = check("request.path ==\n  'a").unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid CEL at line 2, column 3: found a literal without an end or with an unknown escape"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // If the check accepts too much, the parser overflows the stack, which aborts the test.
    #[test]
    fn accepted_nesting_parses_without_overflow(source in "(\\(|\\)|\\[|\\]|\\{|\\}|'|\"|r|b|\\\\|\\?|:|,|\\.|!|-|a|1|\\+|//|\n| in |has\\(a\\.b|\\.all\\(x){0,200}") {
        if check(&source).is_ok() {
            let _ = crate::expression::testing::reference_environment().compile(&source);
        }
    }
}
