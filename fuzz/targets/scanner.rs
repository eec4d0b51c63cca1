//! The scanner finds what a parser finds, and any bytes alike in any pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor as JsonVisitor};
use serde_json::value::RawValue;
use std::sync::{Arc, LazyLock};
use usage_meter::meter::paths::Paths;
use usage_meter::meter::scanner::{ContentKey, LONGEST, Scalar, Scanner, Visitor};
use tollgate_fuzz::Input;

/// The paths that are looked for; a field is the place in this list.
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

/// The field whose bytes are recorded.
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
struct Finds {
    found: Vec<Found>,
    recorded: Vec<u8>,
    documents: usize,
    content: u64,
}

impl Visitor<usize> for Finds {
    fn begin(&mut self) {
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
    fn content(&mut self, _: ContentKey, bytes: u64) {
        self.content += bytes;
    }
    fn end(&mut self, _: bool) {}
}

fn scan<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Finds {
    let mut scanner = Scanner::new(Arc::clone(&FIELDS));
    let mut finds = Finds::default();
    for piece in pieces {
        scanner.push(piece, &mut finds);
    }
    scanner.finish(&mut finds);
    finds
}

/// The members of an object in their order, duplicates and all.
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

/// Finds in one object what is on the paths; `None` where a parser cannot tell, or text is cut off.
fn visit(object: &str, path: &str, found: &mut Vec<Found>) -> Option<bool> {
    let Members(members) = serde_json::from_str(object).ok()?;
    for (key, value) in &members {
        let path = match path {
            "" => key.clone(),
            path => format!("{path}.{key}"),
        };
        // A name with the separators in it would read like a path.
        let beside =
            key.contains(['.', '[']) || !PATHS.iter().any(|known| known.starts_with(&path));
        if beside {
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
            None if text.len() > LONGEST => return None,
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

/// What a parser finds in a document, if it is one.
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
