use super::message;

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
        assert_eq!(message(text), expected, "{text}");
    }
    assert_eq!(message(&"x".repeat(1_000)).len(), 160);
}
