use crate::expression::{Expression, Role};

#[test]
fn errors_have_position_and_expectation() {
    for (source, expected) in [
        (
            "request.path ==\n  'a",
            "line 2, column 3: found a literal without an end or with an unknown escape",
        ),
        ("auth.é", "line 1, column 6: unexpected \"é\""),
        ("'é' == auth..a", "line 1, column 13: unexpected \".\""),
        (
            "auth.a=='b' &",
            "line 1, column 13: unexpected \"&\", did you mean \"&&\"?",
        ),
        (
            "auth.a='b'",
            "line 1, column 7: unexpected \"=\", did you mean \"==\"?",
        ),
        (
            "(auth.a",
            "line 1, column 8: unexpected end, expected \")\"",
        ),
        (
            "",
            "line 1, column 1: unexpected end, expected the rest of the expression",
        ),
        (
            "auth.a == if",
            "line 1, column 11: found the reserved word \"if\", expected another name",
        ),
        ("auth.a == `b`", "line 1, column 11: unexpected \"`\""),
        (
            "9223372036854775808 == 1",
            "line 1, column 1: found an integer out of range, expected one from -2^63 to 2^63 - 1",
        ),
        (
            "18446744073709551616u == 1u",
            "line 1, column 1: found an unsigned integer out of range, expected one up to 2^64 - 1",
        ),
        (
            "1e999 == 1.0",
            "line 1, column 1: found a number out of range, expected one up to 1.8e308",
        ),
        (
            r"'\ud800' == 'a'",
            "line 1, column 1: found an escape that is not a character",
        ),
        (
            r"b'\u0041' == b'a'",
            "line 1, column 1: found an escape of a character in bytes, expected one of a byte, as in `\\xff`",
        ),
        (
            "auth.a.exists(1, true)",
            "line 1, column 15: invalid argument of a macro, expected a name, as in `auth.groups.exists(g, g == \"free\")`",
        ),
    ] {
        assert_eq!(
            error(source),
            format!("invalid CEL at {expected}"),
            "{source}"
        );
    }
}

#[test]
fn long_tokens_are_cut_off() {
    let message = error(&format!("auth.a {}", "x".repeat(1_000)));
    assert!(message.len() < 200, "{message}");
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
    let expected = "invalid CEL at line 1, column 5: invalid argument of `has`, expected a field, as in `has(llm.model)` or `has(requestBodyJSON(\"\").x)`; for headers, `\"x\" in request.headers`";
    assert_eq!(error("has(requestBodyJSON('/x'))"), expected);
    assert!(Expression::compile("has(requestBodyJSON('').x)", Role::Predicate).is_ok());
}

fn error(source: &str) -> String {
    let errors = Expression::compile(source, Role::Predicate).map(|_| ());
    errors.expect_err(source)[0].to_string()
}
