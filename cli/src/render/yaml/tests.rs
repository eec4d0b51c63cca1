use proptest::prelude::*;
use serde_json::{Value, json};

use super::{List, Map, Yaml, stream};

fn written(map: Map) -> String {
    stream(&[("Title.".to_owned(), map)])
}

fn parsed(text: &str) -> Value {
    serde_norway::from_str(text).unwrap()
}

#[test]
fn comments_precede_what_they_are_about() {
    let list = List::default()
        .note("The first.")
        .item(
            Map::default()
                .note("Its name.")
                .field("name", "one")
                .note("Then.")
                .field("size", 1_u64),
        )
        .item(Map::default().field("name", "two").note("Nothing follows."))
        .note("No more.");
    let map = Map::default()
        .note("A list.")
        .field("list", list)
        .field("flow", Map::default().field("a", "b").on_one_line())
        .field("none", Map::default());
    let expected = r"# Title.
# A list.
list:
# The first.
# Its name.
- name: one
  # Then.
  size: 1
- name: two
  # Nothing follows.
# No more.
flow: { a: b }
none: {}
";
    assert_eq!(written(map), expected);
}

#[test]
fn long_comments_are_wrapped_and_examples_are_not() {
    let long = "word ".repeat(60);
    let text = written(
        Map::default()
            .note(format!("{long}\n  {long}"))
            .field("a", "b"),
    );
    let lengths: Vec<usize> = text.lines().map(str::len).collect();
    assert_eq!(
        lengths.iter().filter(|length| **length > 110).count(),
        1,
        "{text}"
    );
    assert!(lengths.len() > 4, "{text}");
}

#[test]
fn line_breaks_do_not_end_comments() {
    let note = "one\rtwo: 2\u{2028}three: 3\u{85}four: 4\nfive: 5";
    let map = Map::default().note(note).field("a", "b").note(note);
    let text = stream(&[(note.to_owned(), map)]);
    assert_eq!(parsed(&text), json!({ "a": "b" }), "{text}");
}

#[test]
fn texts_stay_texts() {
    let texts = [
        "",
        " ",
        "a",
        "a b",
        "yes",
        "No",
        "ON",
        "y",
        "N",
        "null",
        "~",
        "NaN",
        ".inf",
        "true",
        "12",
        "10s",
        "5ms",
        "1m",
        "s",
        "1e3",
        "1_0s",
        "1.5",
        "0x1f",
        "010",
        "1_000",
        "1:30",
        "2026-01-01",
        "-",
        "- a",
        "a: b",
        "a:",
        "a #b",
        "#a",
        "@type",
        "%a",
        "*a",
        "&a",
        "!a",
        "{a}",
        "[a]",
        "a, b",
        "a'b",
        "a\"b",
        "a\\b",
        "'",
        "`a`",
        "? a",
        "|",
        ">",
        "é",
        "日本",
        "🦀",
        "a\tb",
        "a\nb",
        "a\n",
        "\na",
        " a\nb",
        "a\n\nb",
        "a\nb\n",
        "a\nb\n\n",
        "a\n  b\n c",
        "a \nb",
        "a\r\nb",
        "a\u{7f}b",
        "a\u{85}b",
        "a\u{2028}b",
        "\u{feff}a",
        "a\u{0}b",
        "outbound|8081||a.b",
        r#"auth.identity.groups.split(",").exists(g, g == "free")"#,
        "--- a",
        "...",
        "=",
        "<<",
    ];
    let list = List::default().items(texts);
    let fields = texts
        .iter()
        .enumerate()
        .fold(Map::default(), |map, (position, text)| {
            map.field(&format!("f{position}"), *text)
        });
    let map = Map::default()
        .field("list", list.clone())
        .field("flow", list.on_one_line())
        .field("map", fields.clone())
        .field("compact", Yaml::Map(fields).compact());
    let text = written(map);
    let value = parsed(&text);
    assert_eq!(value["list"], json!(texts.to_vec()), "{text}");
    assert_eq!(value["flow"], json!(texts.to_vec()), "{text}");
    for (position, text) in texts.iter().enumerate() {
        assert_eq!(value["map"][format!("f{position}")], *text);
    }
}

#[test]
fn keys_are_quoted_where_texts_are() {
    let map = Map::default()
        .field("@type", "a")
        .field("on", "b")
        .field("a.b/c", "c")
        .field("x: y", "d");
    let text = written(map.clone().field("flow", map.on_one_line()));
    assert!(
        text.contains("\"@type\": a\n\"on\": b\na.b/c: c\n\"x: y\": d\n"),
        "{text}"
    );
    assert_eq!(
        parsed(&text)["flow"],
        json!({ "@type": "a", "on": "b", "a.b/c": "c", "x: y": "d" })
    );
}

#[test]
fn short_leaves_are_compact() {
    let short = Map::default().field("limit", 10_u64).field("window", "1m");
    let long = Map::default().field("expression", "x".repeat(60).as_str());
    let nested = Map::default().field("inner", Yaml::Map(short.clone()).compact());
    let map = Map::default()
        .field("short", Yaml::Map(short).compact())
        .field("long", Yaml::Map(long).compact())
        .field("nested", Yaml::Map(nested).compact());
    let text = written(map);
    assert!(
        text.contains("short: { limit: 10, window: 1m }\nlong:\n  expression: xxx"),
        "{text}"
    );
    assert!(
        text.ends_with("nested:\n  inner: { limit: 10, window: 1m }\n"),
        "{text}"
    );
}

#[test]
fn blocks_keep_their_lines() {
    let json = "{\n  \"a\": [\n    1\n  ]\n}\n";
    let map = Map::default().field(
        "outer",
        Map::default().field("value", Yaml::Block(json.to_owned())),
    );
    let text = written(map);
    assert!(
        text.contains("outer:\n  value: |\n    {\n      \"a\": [\n"),
        "{text}"
    );
    assert_eq!(parsed(&text)["outer"]["value"], json);
}

#[test]
fn documents_are_separated() {
    let document = |name: &str| (format!("The {name}."), Map::default().field("name", name));
    let text = stream(&[document("one"), document("two")]);
    assert_eq!(text, "# The one.\nname: one\n---\n# The two.\nname: two\n");
}

proptest! {
    /// In block and flow style, as a value and as a key.
    #[test]
    fn any_text_stays_the_same(text in "(\\PC|[ \\n\\t:#'\"-]|\\PC|.){0,12}", note in ".{0,20}") {
        let map = Map::default().field("value", text.as_str());
        let keyed = Map::default().field(&text, "a").field("other", "b");
        let list = List::default().note(note.as_str()).item(text.as_str()).item(map.clone());
        let document = Map::default()
            .note(note.as_str())
            .field("list", list.clone())
            .field("flow", list.on_one_line())
            .field("compact", Yaml::Map(map).compact())
            .field("keys", keyed.clone())
            .field("keys_in_flow", keyed.on_one_line());
        let written = written(document);
        let value = parsed(&written);
        let expected = json!([text, { "value": text }]);
        prop_assert_eq!(&value["list"], &expected, "{}", written);
        prop_assert_eq!(&value["flow"], &expected, "{}", written);
        prop_assert_eq!(&value["compact"]["value"], &text, "{}", written);
        if text != "other" {
            prop_assert_eq!(&value["keys"][&text], "a", "{}", written);
            prop_assert_eq!(&value["keys_in_flow"][&text], "a", "{}", written);
        }
    }
}
