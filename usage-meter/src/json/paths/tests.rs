//! Pointers compared with those of `serde_json`.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value;

use crate::json::{GeneratedKey, Paths, Pointer, Scalar, Scanner, Visitor};

/// The scalars that were found: the field and the text.
#[derive(Default)]
struct Found(Vec<(usize, String)>);

impl Visitor<usize> for Found {
    fn begin_document(&mut self) {}
    fn open(&mut self, _: usize) {}
    fn close(&mut self, _: usize, _: bool) {}
    fn scalar(&mut self, field: usize, value: &Scalar<'_>) {
        let text = match value {
            Scalar::Text(text) => format!("{:?}", String::from_utf8_lossy(text)),
            Scalar::Literal(text) => String::from_utf8_lossy(text).into_owned(),
        };
        self.0.push((field, text));
    }
    fn wants_bytes(&self, _: usize) -> bool {
        false
    }
    fn bytes(&mut self, _: &[u8]) {}
    fn generated(&mut self, _: GeneratedKey, _: u64) {}
    fn end_document(&mut self, _: bool) {}
}

fn scan(paths: Paths<usize>, json: &str, cuts: &[usize]) -> Vec<(usize, String)> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (json.len() + 1)).collect();
    cuts.push(json.len());
    cuts.sort_unstable();
    let mut scanner = Scanner::new(Arc::new(paths));
    let mut found = Found::default();
    let mut from = 0;
    for cut in cuts {
        scanner.push(&json.as_bytes()[from..cut], &mut found);
        from = cut;
    }
    scanner.finish(&mut found);
    found.0
}

fn pointer(text: &str) -> Pointer {
    text.parse().unwrap()
}

/// A tree in which a part is shared, as that of the dialects is.
fn dialects() -> Paths<usize> {
    let mut paths = Paths::new();
    let shared = paths.add_shared().unwrap();
    paths.insert_below(shared, "a", 100);
    paths.insert_below(shared, "b.a", 101);
    for prefix in ["a", "b.b", "c[].a"] {
        paths.link(crate::json::Node::ROOT, prefix, shared);
    }
    paths
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<u16>().prop_map(Value::from),
        "[a0,\\]\"]{0,3}".prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(5, 48, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec(("[abc01]", inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn pointers_agree_with_parser(
        members in proptest::collection::vec(("[abc01]", json()), 0..5),
        pointers in proptest::collection::btree_set("(/[abc012]){1,5}", 1..6),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let document = Value::Object(members.into_iter().collect());
        let pointers: Vec<String> = pointers.into_iter().collect();
        let mut paths = dialects();
        for (field, text) in pointers.iter().enumerate() {
            paths.insert_pointer(&pointer(text), field);
        }
        let text = document.to_string();
        let mut found = scan(paths, &text, &cuts);
        found.retain(|(field, _)| *field < 100);
        found.sort();
        let expected: Vec<(usize, String)> = pointers
            .iter()
            .enumerate()
            .filter_map(|(field, pointer)| Some((field, document.pointer(pointer)?)))
            .filter(|(_, value)| !value.is_object() && !value.is_array())
            .map(|(field, value)| (field, value.to_string()))
            .collect();
        prop_assert_eq!(found, expected, "{} {:?}", text, pointers);
    }

    #[test]
    fn pointers_leave_other_paths_alone(
        members in proptest::collection::vec(("[abc]", json()), 0..5),
        pointers in proptest::collection::vec("(/[abc012]){1,5}", 0..6),
    ) {
        let text = Value::Object(members.into_iter().collect()).to_string();
        let mut paths = dialects();
        for text in &pointers {
            paths.insert_pointer(&pointer(text), 0);
        }
        let mut found = scan(paths, &text, &[]);
        found.retain(|(field, _)| *field >= 100);
        prop_assert_eq!(found, scan(dialects(), &text, &[]), "{} {:?}", text, pointers);
    }
}

#[test]
fn pointers_into_elements_and_shared_parts_change_no_other_path() {
    for (pointers, json, expected) in [
        (
            &["/e/1/x", "/e/1/y"][..],
            r#"{"e":[{"t":1},{"t":2,"x":3,"y":4},{"t":5,"x":6}]}"#,
            &[(102, "1"), (102, "2"), (0, "3"), (1, "4"), (102, "5")][..],
        ),
        (
            &["/a/x", "/a/b/x"],
            r#"{"a":{"a":1,"x":2,"b":{"a":3,"x":4}},"b":{"b":{"a":5,"x":6,"b":{"x":7}}}}"#,
            &[(100, "1"), (0, "2"), (101, "3"), (1, "4"), (100, "5")],
        ),
    ] {
        let mut paths = dialects();
        paths.insert("e[].t", 102);
        for (field, text) in pointers.iter().enumerate() {
            paths.insert_pointer(&pointer(text), field);
        }
        let found = scan(paths, json, &[]);
        let found: Vec<_> = found
            .iter()
            .map(|(field, text)| (*field, &**text))
            .collect();
        assert_eq!(found, expected, "{json}");
    }
}

#[test]
fn indexes_lead_to_one_element() {
    for (text, json, expected) in [
        ("/a/0/t", r#"{"a":[{"t":1},{"t":2}]}"#, Some("1")),
        ("/a/1/t", r#"{"a":[{"t":1},{"t":2}]}"#, Some("2")),
        ("/a/2/t", r#"{"a":[{"t":1},{"t":2}]}"#, None),
        ("/a/1", r#"{"a":[4,5,6]}"#, Some("5")),
        ("/a/1", r#"{"a":["4","5"]}"#, Some("\"5\"")),
        ("/a/0", r#"{"a":[]}"#, None),
        (
            "/a/1/0/t",
            r#"{"a":[[{"t":1}],[{"t":2},{"t":3}]]}"#,
            Some("2"),
        ),
        ("/a/1/t", r#"{"a":[[1,2],{"t":2}]}"#, Some("2")),
        (
            "/a/2/t",
            r#"{"a":[{"x":[1,2],"y":",,"},"{,",{"t":2}]}"#,
            Some("2"),
        ),
        (
            "/a/12",
            r#"{"a":[0,1,2,3,4,5,6,7,8,9,10,11,12]}"#,
            Some("12"),
        ),
        ("/a/1/t", r#"{"a":{"1":{"t":7}}}"#, Some("7")),
        ("/a/01", r#"{"a":[1,2]}"#, None),
        ("/1/t", r#"[{"t":1},{"t":2}]"#, Some("2")),
        ("/0/1/t", r#"[[{},{"t":1}],{"t":2}]"#, Some("1")),
    ] {
        let mut paths = Paths::new();
        paths.insert_pointer(&pointer(text), 0);
        let every_byte: Vec<usize> = (0..json.len()).collect();
        for cuts in [&[][..], &every_byte] {
            let found = scan(paths.clone(), json, cuts);
            let found = found.first().map(|(_, text)| text.as_str());
            assert_eq!(found, expected, "{text} {json}");
        }
    }
}
