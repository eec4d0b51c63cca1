use super::*;

fn lines(path: &str, text: &str) -> Vec<String> {
    let violations = check(path, text).into_iter();
    let place = violations.map(|violation| violation.split(", rather").next().map(str::to_owned));
    place.flatten().collect()
}

#[test]
fn comments_names_and_messages_are_checked() {
    let source = "/// Lets\n/// go of what is `told`, and look up, who\n///\n/// waits.\nfn told() {}\n\
                  let a = \"refuse\"; let b = \"it \\\n  refuses\";\n// went on\n// a refusal, connection refused";
    assert_eq!(
        lines("src/a.rs", source),
        [
            "src/a.rs:1: \"lets go\"",
            "src/a.rs:2: \"who\"",
            "src/a.rs:5: \"told\"",
            "src/a.rs:7: \"refuses\"",
            "src/a.rs:8: \"went on\"",
            "src/a.rs:9: \"refusal\"",
        ]
    );
    let strings = "let b = \"it refuses\"; // He";
    assert_eq!(lines("src/tests.rs", strings), ["src/tests.rs:1: \"he\""]);
}

#[test]
fn documents_are_checked_without_code() {
    let text =
        "# What it tells\n\nAdministrators who `tell` it,\nand go\non.\n```\ntold\n```\ntold";
    assert_eq!(
        lines("docs/a.md", text),
        [
            "docs/a.md:1: \"tells\"",
            "docs/a.md:4: \"go on\"",
            "docs/a.md:9: \"told\""
        ]
    );
}

#[test]
fn comments_of_yaml_are_checked() {
    let text = "a: refuse # as he was told\n# crowd\nurl: http://x/#told";
    assert_eq!(
        lines("examples/a.yaml", text),
        [
            "examples/a.yaml:1: \"he\"",
            "examples/a.yaml:1: \"told\"",
            "examples/a.yaml:2: \"crowd\"",
        ]
    );
}

#[test]
fn names_are_split_into_words() {
    assert_eq!(
        lines(
            "src/a.rs",
            "fn let_goods() { letGo; LetGo; let_go }\nstruct WhoeverHTTP;"
        ),
        [
            "src/a.rs:1: \"let go\"",
            "src/a.rs:1: \"let go\"",
            "src/a.rs:1: \"let go\"",
            "src/a.rs:2: \"whoever\"",
        ]
    );
}
