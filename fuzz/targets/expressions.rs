//! An expression yields what the evaluator of the `cel` crate yields, as far as its fuel suffices; with less fuel it
//! yields the same or has no value. A text parses as by the parser of the crate.
#![no_main]

use cel::Value;
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use filter_config::testing::{are_same, evaluated, generated, parsed, reference};
use filter_config::{FuelLimits, REQUEST_BODY};
use libfuzzer_sys::fuzz_target;

/// The types of generated expressions: texts, integers, booleans, lists, and any.
const KINDS: &str = "TIBLE";

/// The most bytes of a text of the request.
const MAX_TEXT_BYTES: usize = 200;

/// A request: a text as its path and in its claims, and a JSON body.
struct Request {
    path: Box<dyn Val>,
    request: Box<dyn Val>,
    auth: Box<dyn Val>,
    body: Box<dyn Val>,
}

// === impl Request ===

impl Request {
    fn new(text: &str, body: &serde_json::Value) -> Self {
        let value = |json: serde_json::Value| -> Box<dyn Val> {
            let value: Value = cel::to_value(json).expect("JSON is a value");
            value.try_into().expect("JSON is a value")
        };
        Self {
            path: value(serde_json::json!(text)),
            request: value(serde_json::json!({ "path": text })),
            auth: value(serde_json::json!({ "a": body, "b": text, "n": null })),
            body: value(body.clone()),
        }
    }
}

impl VariableResolver for Request {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        Some(CowVal::Borrowed(match variable {
            "request.path" => &*self.path,
            "request" => &*self.request,
            "auth" => &*self.auth,
            REQUEST_BODY => &*self.body,
            _ => return None,
        }))
    }
}

fuzz_target!(|data: &[u8]| {
    // Fuel, and then three lines: the expression, a text and a body. An expression that begins with the letter of a
    // type is generated from the bytes after it.
    let Some((&[steps, bytes], rest)) = data.split_first_chunk() else {
        return;
    };
    let mut lines = rest.splitn(3, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (source, text, body) = (line(), line(), line());
    let source = match source.split_first() {
        Some((first, choices)) if KINDS.contains(char::from(*first)) => {
            generated(char::from(*first), choices.iter().copied())
        }
        _ => String::from_utf8_lossy(source).into_owned(),
    };
    // Macros of optional values are not supported.
    if !source.contains("optMap") && !source.contains("optFlatMap") {
        let [tree, expected] = parsed(&source);
        assert_eq!(tree, expected, "{source}");
    }
    let text = String::from_utf8_lossy(&text[..text.len().min(MAX_TEXT_BYTES)]);
    let body = &body[..body.len().min(MAX_TEXT_BYTES)];
    let body = serde_json::from_slice(body)
        .unwrap_or_else(|_| serde_json::json!(String::from_utf8_lossy(body)));
    let request = Request::new(&text, &body);
    let limits = FuelLimits {
        steps: 20_000,
        bytes: 16_000,
    };
    let Some(found) = evaluated(&source, &request, limits) else {
        return;
    };
    let Some(expected) = reference(&source, &request) else {
        return;
    };
    assert!(
        are_same(&found, &expected),
        "{source}: {found:?}, {expected:?}"
    );
    let less = FuelLimits {
        steps: u64::from(steps),
        bytes: u64::from(bytes) * 16,
    };
    if let Some(found) = evaluated(&source, &request, less) {
        assert!(
            are_same(&found, &expected),
            "{source}: {found:?}, {expected:?}"
        );
    }
});
