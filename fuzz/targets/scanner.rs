//! The scanner finds in JSON what a parser finds, and finds the same in any pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor as JsonVisitor};
use serde_json::value::RawValue;
use std::sync::{Arc, LazyLock};
use tollgate_fuzz::Input;
use usage_meter::internals::{GeneratedKey, MAX_SCALAR_BYTES, Paths, Scalar, Scanner, Visitor};

/// The paths of the scanner; a field is an index in this list.
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

/// The field whose bytes the visitor receives.
const RECORDED: usize = 1;

static FIELDS: LazyLock<Arc<Paths<usize>>> = LazyLock::new(|| {
    let mut paths = Paths::new();
    for (field, path) in PATHS.iter().enumerate() {
        paths.insert(path, field);
    }
    Arc::new(paths)
});

#[derive(Debug, PartialEq)]
enum Found {
    Container { field: usize, empty: bool },
    Text { field: usize, text: Vec<u8> },
    Literal { field: usize, text: Vec<u8> },
}

#[derive(Debug, Default, PartialEq)]
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
        self.found.push(Found::Container { field, empty });
    }
    fn scalar(&mut self, field: usize, value: &Scalar<'_>) {
        self.found.push(match value {
            Scalar::Text(text) => Found::Text {
                field,
                text: text.to_vec(),
            },
            Scalar::Literal(text) => Found::Literal {
                field,
                text: text.to_vec(),
            },
        });
    }
    fn wants_bytes(&self, field: usize) -> bool {
        field == RECORDED
    }
    fn bytes(&mut self, bytes: &[u8]) {
        self.recorded.extend_from_slice(bytes);
    }
    fn generated(&mut self, _: GeneratedKey, bytes: u64) {
        self.generated += bytes;
    }
    fn end_document(&mut self, _: bool) {}
}

fn scan<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Recorder {
    let mut scanner = Scanner::new(Arc::clone(&FIELDS));
    let mut recorder = Recorder::default();
    for piece in pieces {
        scanner.push(piece, &mut recorder);
    }
    scanner.finish(&mut recorder);
    recorder
}

/// The members of an object in order, including duplicates.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> JsonVisitor<'de> for Pairs {
            type Value = Members<'de>;
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// Collects the values on the paths in an object, and returns whether it is empty; `None` if it is not
/// valid JSON, or a text is truncated.
fn visit(object: &str, path: &str, found: &mut Vec<Found>) -> Option<bool> {
    let Members(members) = serde_json::from_str(object).ok()?;
    for (key, value) in &members {
        let path = match path {
            "" => key.clone(),
            path => format!("{path}.{key}"),
        };
        // A key with separators in it is not a path.
        let is_other =
            key.contains(['.', '[']) || !PATHS.iter().any(|known| known.starts_with(&path));
        if is_other {
            continue;
        }
        let field = PATHS.iter().position(|known| **known == path);
        let text = value.get();
        let container = match text.as_bytes().first()? {
            b'{' => Some(visit(text, &path, found)?),
            b'[' => {
                let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                for element in &elements {
                    if element.get().starts_with('{') {
                        visit(element.get(), &format!("{path}[]"), found)?;
                    }
                }
                Some(elements.is_empty())
            }
            _ => None,
        };
        let Some(field) = field else {
            continue;
        };
        found.push(match container {
            Some(empty) => Found::Container { field, empty },
            None if text.len() > MAX_SCALAR_BYTES => return None,
            None if text.starts_with('"') => Found::Text {
                field,
                text: serde_json::from_str::<String>(text).ok()?.into_bytes(),
            },
            None => Found::Literal {
                field,
                text: text.as_bytes().to_vec(),
            },
        });
    }
    Some(members.is_empty())
}

/// Returns what a parser finds in a document; `None` if it is not valid JSON.
fn parse(json: &[u8]) -> Option<Vec<Found>> {
    let root: &RawValue = serde_json::from_slice(json).ok()?;
    let mut found = Vec::new();
    match root.get().as_bytes().first()? {
        b'{' => {
            visit(root.get(), "", &mut found)?;
        }
        b'[' => {
            let elements: Vec<&RawValue> = serde_json::from_str(root.get()).ok()?;
            for element in elements {
                if element.get().starts_with('{') {
                    visit(element.get(), "", &mut found)?;
                }
            }
        }
        _ => {}
    }
    Some(found)
}

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::new(data) else {
        return;
    };
    let whole = scan(std::iter::once(input.bytes));
    assert_eq!(scan(input.pieces()), whole);
    if let Some(parsed) = parse(input.bytes) {
        assert_eq!(whole.found, parsed);
    }
});
