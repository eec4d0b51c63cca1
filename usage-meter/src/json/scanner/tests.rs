//! The scanner compared with `serde_json`.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value;

use super::Scanner;
use crate::json::{GeneratedKey, Paths, Scalar, Visitor};

/// The paths of these tests; a field is an index in this list.
const PATHS: &[&str] = &[
    "a",
    "b",
    "a.a",
    "a.b",
    "b.a.b",
    "c[].a",
    "c[].b.a",
    "a.c[].c[].a",
];

fn paths() -> Arc<Paths<usize>> {
    let mut paths = Paths::new();
    for (field, path) in PATHS.iter().enumerate() {
        paths.insert(path, field);
    }
    Arc::new(paths)
}

/// A field, with the text of its scalar or whether its container was empty.
type Found = (usize, String);

#[derive(Default)]
struct Recorder {
    found: Vec<Found>,
    recorded: Vec<u8>,
    documents: usize,
    generated: u64,
}

impl Visitor<usize> for Recorder {
    fn begin_document(&mut self) {
        self.documents += 1;
    }
    fn open(&mut self, _: usize) {}
    fn close(&mut self, field: usize, empty: bool) {
        self.found.push((field, format!("container {empty}")));
    }
    fn scalar(&mut self, field: usize, value: &Scalar<'_>) {
        let text = match value {
            Scalar::Text(text) => format!("{:?}", String::from_utf8_lossy(text)),
            Scalar::Literal(text) => String::from_utf8_lossy(text).into_owned(),
        };
        self.found.push((field, text));
    }
    fn wants_bytes(&self, field: usize) -> bool {
        field == 1
    }
    fn bytes(&mut self, bytes: &[u8]) {
        self.recorded.extend_from_slice(bytes);
    }
    fn generated(&mut self, _: GeneratedKey, bytes: u64) {
        self.generated += bytes;
    }
    fn end_document(&mut self, _: bool) {}
}

fn scan(json: &[u8], cuts: &[usize]) -> Recorder {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (json.len() + 1)).collect();
    cuts.push(json.len());
    cuts.sort_unstable();
    let mut scanner = Scanner::new(paths());
    let mut recorder = Recorder::default();
    let mut from = 0;
    for cut in cuts {
        scanner.push(&json[from..cut], &mut recorder);
        from = cut;
    }
    scanner.finish(&mut recorder);
    recorder
}

/// Returns what a parser finds on the paths, in the order of the document.
fn parse(value: &Value) -> Vec<Found> {
    let mut found = Vec::new();
    let documents: Vec<&Value> = match value {
        Value::Array(values) => values.iter().collect(),
        value => vec![value],
    };
    for document in documents {
        if document.is_object() {
            visit(document, "", &mut found);
        }
    }
    found
}

fn visit(value: &Value, path: &str, found: &mut Vec<Found>) {
    let Value::Object(members) = value else {
        return;
    };
    for (key, value) in members {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        let field = PATHS.iter().position(|known| **known == path);
        match value {
            Value::Object(members) => {
                visit(value, &path, found);
                found.extend(
                    field.map(|field| (field, format!("container {}", members.is_empty()))),
                );
            }
            Value::Array(elements) => {
                for element in elements {
                    visit(element, &format!("{path}[]"), found);
                }
                found.extend(
                    field.map(|field| (field, format!("container {}", elements.is_empty()))),
                );
            }
            Value::String(text) => {
                found.extend(field.map(|field| (field, format!("{text:?}"))));
            }
            value => found.extend(field.map(|field| (field, value.to_string()))),
        }
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "(a|b|[{}\\[\\],:\"\\\\/\n]|\\PC){0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 64, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec(("[abcd]", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn scanner_agrees_with_parser(
        value in json(),
        pretty: bool,
        cuts in proptest::collection::vec(any::<usize>(), 0..16),
    ) {
        let text = if pretty {
            serde_json::to_vec_pretty(&value).unwrap()
        } else {
            serde_json::to_vec(&value).unwrap()
        };
        let recorder = scan(&text, &cuts);
        prop_assert_eq!(&recorder.found, &parse(&value), "{}", String::from_utf8_lossy(&text));
        if let Value::Object(members) = &value
            && let Some(recorded) = members.get("b").filter(|b| b.is_object() || b.is_array())
        {
            let written = if pretty {
                serde_json::to_string_pretty(recorded).unwrap().replace('\n', "\n  ")
            } else {
                recorded.to_string()
            };
            prop_assert_eq!(String::from_utf8_lossy(&recorder.recorded), written);
        }
    }

    #[test]
    fn deep_nesting_is_skipped(depth in 0_usize..1_000, brackets: bool) {
        let (open, close) = if brackets { ("[", "]") } else { ("{\"a\":", "}") };
        let text = format!(
            "{{\"d\":{}1{},\"a\":{{\"b\":7}}}}",
            open.repeat(depth),
            close.repeat(depth)
        );
        let found = scan(text.as_bytes(), &[]).found;
        prop_assert_eq!(found, vec![(3, "7".to_owned()), (0, "container false".to_owned())]);
    }

    #[test]
    fn any_bytes_scan_the_same_in_pieces(
        text in proptest::collection::vec(
            prop_oneof![any::<u8>(), proptest::sample::select(b"{}[]\",:\\ab1 ".to_vec())],
            0..200,
        ),
        cuts in proptest::collection::vec(any::<usize>(), 0..16),
    ) {
        let (whole, pieces) = (scan(&text, &[]), scan(&text, &cuts));
        prop_assert_eq!(whole.found, pieces.found);
        prop_assert_eq!(whole.generated, pieces.generated);
        prop_assert_eq!(whole.recorded, pieces.recorded);
    }
}

#[test]
fn root_objects_and_array_items_are_documents() {
    for (text, documents) in [
        ("{}", 1),
        ("{}{}", 2),
        ("{\"a\":1}\n{\"a\":2}\n", 2),
        ("[{},{}]", 2),
        ("[[{}],{}]", 1),
        ("1 null \"{}\"", 0),
    ] {
        assert_eq!(scan(text.as_bytes(), &[]).documents, documents, "{text}");
    }
}

#[test]
fn generated_text_is_counted_by_key() {
    for (text, bytes) in [
        (r#"{"x":{"content":"abc"}}"#, 3),
        (r#"{"x":{"name":"abc"}}"#, 0),
        (r#"{"content":[{"text":"ab"},{"text":"c"}]}"#, 3),
        (r#"{"x":[{"text":"a\n\"b"}]}"#, 4),
        (r#"{"x":[{"text":"\u00e9"}]}"#, 4),
        (
            r#"{"x":[{"args":{"city":"Bern","n":[1,"x"]}}],"y":"z"}"#,
            10,
        ),
        (r#"{"x":[{"args":{}},{"y":"z"}]}"#, 0),
        (r#"{"x":[{"args":["ab"]},{"args":["ab",{"y":"z"}]}]}"#, 0),
        (
            r#"{"x":[{"args":{"a":{"args":{"b":"c"}},"d":"e"}}],"y":"z"}"#,
            9,
        ),
        (r#"{"x":["content","abc"]}"#, 0),
    ] {
        assert_eq!(scan(text.as_bytes(), &[]).generated, bytes, "{text}");
    }
}
