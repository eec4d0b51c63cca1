use super::message;
use crate::expression::{Expression, Role};

#[test]
fn messages_name_token_and_operator() {
    for (text, expected) in [
        (
            "Syntax error: token recognition error at: '= '",
            r#"unexpected "=", did you mean "=="?"#,
        ),
        (
            "Syntax error: extraneous input 'and' expecting <EOF>",
            r#"unexpected "and", did you mean "&&"?"#,
        ),
        (
            "Syntax error: mismatched input '<EOF>' expecting {'[', '{'}",
            "unexpected end, expected the rest of the expression",
        ),
        (
            "Syntax error: no viable alternative at input '.'",
            r#"unexpected ".""#,
        ),
        ("Syntax error: something else", "something else"),
        ("mismatched input", "mismatched input"),
    ] {
        assert_eq!(message("", text), expected, "{text}");
    }
    assert_eq!(message("", &"x".repeat(1_000)).len(), 160);
}

#[test]
fn operators_of_other_languages_have_hints() {
    for (source, operator) in [
        ("auth.a = 'b'", "=="),
        ("auth.a == 'b' and auth.c == 'd'", "&&"),
        ("auth.a == 'b' or auth.c == 'd'", "||"),
        ("not auth.a", "!"),
        ("not (auth.a == 'b')", "!"),
        ("auth.a <> 'b'", "!="),
        ("auth.a is null", "=="),
    ] {
        let hint = format!(", did you mean \"{operator}\"?");
        assert!(error(source).ends_with(&hint), "{}", error(source));
    }
    assert!(!error("auth.a auth.b").contains("did you mean"));
}

#[test]
fn misuse_of_optional_syntax_has_hints() {
    let expected = "invalid CEL at line 1, column 31: unexpected \"(\", did you mean \".orValue(\" without a question mark?";
    assert_eq!(error("requestBodyJSON('/x').?orValue(500)"), expected);
    let expected = "invalid CEL at line 1, column 20: invalid argument of `has`, expected a field, as in `has(llm.model)` or `has(requestBodyJSON(\"\").x)`; for headers, `\"x\" in request.headers`";
    assert_eq!(error("has(requestBodyJSON('/x'))"), expected);
    assert!(Expression::compile("has(requestBodyJSON('').x)", Role::Predicate).is_ok());
}

fn error(source: &str) -> String {
    let errors = Expression::compile(source, Role::Predicate).map(|_| ());
    errors.expect_err(source)[0].to_string()
}
