//! Tests of the parser against that of the `cel` crate.

use proptest::prelude::*;
use proptest::sample::select;

use crate::expression::testing::{generated, parsed};

/// Tokens of all kinds, some of them malformed, and their beginnings.
const TOKENS: &[&str] = &[
    "a",
    "b",
    "_x1",
    "in",
    "true",
    "false",
    "null",
    "if",
    "has",
    "r",
    "b",
    "rb",
    "br",
    "u",
    "e",
    "x",
    "0",
    "1",
    "12",
    "0x1F",
    "0x",
    "0X1",
    "1u",
    "0x1fU",
    "1.5",
    ".5",
    "1.",
    "1e3",
    "1e",
    "1E-2",
    "1e+",
    "1.5u",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615u",
    "18446744073709551616u",
    "1e999",
    "''",
    "'a'",
    "\"a\"",
    "'''a'b\r\nc'''",
    "\"\"\"a\"\"b\"\"\"",
    "r'\\'",
    "R\"a\\b\"",
    "b'\\xff\\101a'",
    "B'a'",
    "br'\\'",
    "rb'a'",
    "'\\n\\t\\\\\\'\\`\\?\\\"'",
    "'\\x41\\101\\u00e9\\U0001F600'",
    "'\\ud800'",
    "b'\\u0041'",
    "'\\q'",
    "'a",
    "'''a",
    "'é'",
    "'\\400'",
    "'\\377'",
    "b'é'",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "=",
    "&&",
    "||",
    "&",
    "|",
    "+",
    "-",
    "*",
    "/",
    "%",
    "!",
    "?",
    ":",
    ".",
    ",",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "//",
    "// a\n",
    " ",
    "\n",
    "\t",
    "\u{c}",
    "\r",
    "\u{a0}",
    "@",
    "é",
    "`",
    "`a`",
    ";",
    "#",
    ".a",
    ".?b",
    "[?",
    "[0]",
    "f(",
    "has(a.b)",
    "has(a)",
    ".all(x, ",
    ".exists(x, ",
    ".map(x, ",
    ".filter(x, ",
    ".exists_one(x, ",
    ".existsOne(x, ",
    ".map(x, x, ",
    ".all(1, ",
    "requestBodyJSON(",
    "['/a', '/b']",
    "a.b{",
    "A{x: 1}",
    "{?'a': 1}",
    "[?a]",
    "{,}",
    "[,]",
    "[1,]",
    "(1)",
    "? a : b",
    "- -1",
    "--1",
    "!-1",
    "-!",
    "!!a",
    "a.if",
];

/// Forms of expressions, in which `E` stands for another.
const FORMS: &[&str] = &[
    "a",
    "-1",
    "1u",
    "1.5",
    "'a'",
    "b'a'",
    "null",
    "true",
    ".a",
    "a.b.c",
    "T{}",
    "T.U{x: E, ?y: E,}",
    ".T{,}",
    "[]",
    "{}",
    "E + E",
    "E - E",
    "E -E",
    "E * E",
    "E / E",
    "E % E",
    "E == E",
    "E != E",
    "E < E",
    "E <= E",
    "E > E",
    "E >= E",
    "E in E",
    "E && E",
    "E || E",
    "E && E && E || E && E",
    "E || E || E || E || E",
    "E ? E : E",
    "!E",
    "!!E",
    "-E",
    "--E",
    "---E",
    "- E",
    "!-1",
    "(E)",
    "(E)",
    "[E]",
    "[E, ?E, E,]",
    "{E: E}",
    "{?E: E, E: E,}",
    "E.b",
    "E.?b",
    "E[E]",
    "E[?E]",
    "E.f()",
    "E.f(E, E)",
    "f()",
    "f(E)",
    ".f(E)",
    "E.in",
    "E.if",
    "if(E)",
    "has(E.b)",
    "has(E)",
    "has(E, E)",
    "E.all(x, E)",
    "E.exists(x, E)",
    "E.exists_one(x, E)",
    "E.existsOne(x, E)",
    "E.map(x, E)",
    "E.map(x, E, E)",
    "E.filter(x, E)",
    "E.map(E, E)",
    "E.all(E)",
    "all(x, E)",
    "E.has(E)",
    "requestBodyJSON(E)",
    "requestBodyJSON(['/a', '/b'])",
    "requestBodyJSON(['/a', E])",
    "E.requestBodyJSON(E)",
    "E // E\n + E",
    "E.filter(.x, E)",
];

/// An expression of forms that the choices determine, without or with brackets around its parts.
fn formed(choices: &mut impl Iterator<Item = u8>, depth: usize) -> String {
    let Some(choice) = choices.next() else {
        return "a".to_owned();
    };
    let form = FORMS[usize::from(choice) % FORMS.len()];
    let mut source = String::new();
    for character in form.chars() {
        match character {
            'E' if depth == 0 => source.push('a'),
            'E' => source += &formed(choices, depth - 1),
            other => source.push(other),
        }
    }
    source
}

fn check(source: &str) -> Result<(), TestCaseError> {
    let [found, expected] = parsed(source);
    prop_assert_eq!(found, expected, "{}", source);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_tokens_parse_as_in_cel(tokens in prop::collection::vec(select(TOKENS), 0..12)) {
        check(&tokens.concat())?;
        check(&tokens.join(" "))?;
    }

    #[test]
    fn forms_parse_as_in_cel(choices in prop::collection::vec(any::<u8>(), 1..30)) {
        check(&formed(&mut choices.into_iter(), 3))?;
    }

    #[test]
    fn changed_forms_parse_as_in_cel(
        choices in prop::collection::vec(any::<u8>(), 1..20),
        token in select(TOKENS),
        at in any::<prop::sample::Index>(),
        removed in 0_usize..3,
    ) {
        let source = formed(&mut choices.into_iter(), 2);
        let characters: Vec<char> = source.chars().collect();
        let at = at.index(characters.len());
        let (before, after) = characters.split_at(at);
        let after = after.iter().skip(removed);
        check(&before.iter().copied().chain(token.chars()).chain(after.copied()).collect::<String>())?;
    }

    #[test]
    fn generated_expressions_parse_as_in_cel(
        kind in select(vec!['T', 'I', 'B', 'L', 'E']),
        choices in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        check(&generated(kind, choices))?;
    }

    #[test]
    fn any_text_parses_as_in_cel(text in "\\PC{0,16}") {
        check(&text)?;
    }
}

#[test]
fn nested_conditions_have_the_same_bound() {
    for conditions in [94, 95, 96] {
        let source = format!("{}a", "a ? b : ".repeat(conditions));
        let [found, expected] = parsed(&source);
        assert_eq!(found, expected, "{conditions}");
        assert_eq!(found.is_some(), conditions < 96, "{conditions}");
    }
}

#[test]
fn long_chains_parse_as_in_cel() {
    for separator in ["||", "&&", "+", ",", "in"] {
        for terms in 1..40 {
            let source = format!("[{}]", vec!["a"; terms].join(&format!(" {separator} ")));
            let [found, expected] = parsed(&source);
            assert_eq!(found, expected, "{source}");
        }
    }
}
