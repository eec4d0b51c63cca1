//! Tests of the bounds of nesting.

use proptest::prelude::*;

use super::{BRACKETS, OPERANDS, check};
use crate::expression::ExpressionFault;

fn is_too_deep(source: &str) -> bool {
    matches!(check(source), Err(ExpressionFault::TooDeep { .. }))
}

fn is_ill_formed(source: &str) -> bool {
    matches!(check(source), Err(ExpressionFault::Syntax { .. }))
}

#[test]
fn what_would_exhaust_the_stack_is_refused() {
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
fn what_people_write_is_not() {
    let words: Vec<String> = (0..200).map(|n| format!("\"model-{n}\"")).collect();
    for source in [
        format!("request.path in [{}]", words.join(", ")),
        vec!["request.path == \"/v1\""; 100].join(" || "),
        "auth.groups.split(\",\").exists(g, g == \"(((((((((((((((((((((((((((\")".to_owned(),
        "'''it's (((((((((((((((((((((((((((''' == r\"\\(\"".to_owned(),
        format!("{}1{}", "(".repeat(BRACKETS - 1), ")".repeat(BRACKETS - 1)),
        vec!["1"; OPERANDS].join("+"),
    ] {
        assert_eq!(check(&source), Ok(()), "{source}");
    }
}

#[test]
fn a_literal_that_the_parser_would_not_read_as_one_is_refused() {
    for source in [
        "'", "'a\n'", "\"a", "'''a''", "'\\q'", "'\\x0'", "'\\u12'", "'\\9'", "`a`", "1r'a'",
    ] {
        assert!(is_ill_formed(source), "{source}");
    }
}

#[test]
fn the_fault_of_a_literal_tells_where_it_begins() {
    let fault = check("request.path ==\n  'a").unwrap_err();
    assert_eq!(
        fault.to_string(),
        "not CEL, line 2, column 3: a literal that does not end, or has an unknown escape"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // The parser overflows the stack, and so ends the test, where the check lets too much pass.
    #[test]
    fn whatever_passes_can_be_parsed(source in "(\\(|\\)|\\[|\\]|\\{|\\}|'|\"|r|b|\\\\|\\?|:|,|\\.|!|-|a|1|\\+|//|\n| in |has\\(a\\.b|\\.all\\(x){0,200}") {
        if check(&source).is_ok() {
            let _ = crate::environment().compile(&source);
        }
    }
}
