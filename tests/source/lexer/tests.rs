use super::*;

fn of_kind(source: &str, kind: Kind) -> Vec<&str> {
    let tokens = tokens(source);
    let of_kind = tokens.iter().filter(|token| token.kind == kind);
    of_kind.map(|token| token.text).collect()
}

#[test]
fn comments_and_strings_are_not_code() {
    let source = r##"
        use a::b; // use c::d;
        /* use e::f; /* nested */ use g; */
        let x = "use h::i; \" use j;";
        let y = r#"use "k";"#;
        let z = (b"l", c"m", br"n");
    "##;
    assert_eq!(
        of_kind(source, Kind::Identifier),
        ["use", "a", "b", "let", "x", "let", "y", "let", "z"]
    );
    assert_eq!(
        of_kind(source, Kind::String),
        ["use h::i; \\\" use j;", "use \"k\";", "l", "m", "n"]
    );
}

#[test]
fn characters_and_lifetimes_are_distinguished() {
    let source = r"fn f<'a>(x: &'a str) { ('\'', '\\', '\u{1f}', 'é', b'\x00', b'a', '_'); r#in }";
    assert_eq!(
        of_kind(source, Kind::Other),
        [
            "'a",
            "'a",
            r"'\''",
            r"'\\'",
            r"'\u{1f}'",
            "'é'",
            r"b'\x00'",
            "b'a'",
            "'_'"
        ]
    );
    assert_eq!(
        of_kind(source, Kind::Identifier),
        ["fn", "f", "x", "str", "in"]
    );
}

#[test]
fn lines_are_counted_through_strings_and_comments() {
    let source = "a\n\"b\n\n\" c /*\n*/ d // e\nf";
    let lines: Vec<_> = tokens(source)
        .into_iter()
        .map(|token| (token.text.trim().to_owned(), token.line))
        .collect();
    let expected = [
        ("a", 1),
        ("b", 2),
        ("c", 4),
        ("", 4),
        ("d", 5),
        ("e", 5),
        ("f", 6),
    ];
    assert_eq!(lines, expected.map(|(text, line)| (text.to_owned(), line)));
}

#[test]
fn unfinished_literal_ends_with_file() {
    for source in ["\"abc", "r#\"abc\"", "/* abc", "'", "b'", "'\\", "\"\\"] {
        let _ = tokens(source);
    }
}
