use super::*;

fn lines(path: &str, text: &str) -> Vec<String> {
    let violations = check(path, text).into_iter();
    let place = violations.map(|violation| violation.split(", rather").next().map(str::to_owned));
    place.flatten().collect()
}

#[test]
fn comments_and_messages_are_read() {
    let source = "/// Lets\n/// go of what is `told`, and look up, who\n///\n/// waits.\nfn told() {}\n\
                  let a = \"refuse\"; let b = \"it \\\n  refuses\";\n// went on\n// a refusal";
    assert_eq!(
        lines("src/a.rs", source),
        [
            "src/a.rs:1: \"lets go\"",
            "src/a.rs:2: \"who\"",
            "src/a.rs:7: \"refuses\"",
            "src/a.rs:8: \"went on\"",
            "src/a.rs:9: \"refusal\"",
        ]
    );
    let strings = "let b = \"it refuses\"; // He";
    assert_eq!(lines("src/tests.rs", strings), ["src/tests.rs:1: \"he\""]);
}

#[test]
fn documents_are_read_without_code() {
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
fn comments_of_yaml_are_read() {
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
