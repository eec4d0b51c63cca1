//! CEL values from text and from JSON.

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use cel::common::value::{CowVal, Val};
use std::borrow::Cow;
use std::collections::HashMap;

/// A CEL value that owns its data.
pub(super) type Value = Box<dyn Val>;

/// Returns a value for the evaluator, which does not copy it.
pub(super) fn borrowed(value: Option<&Value>) -> Option<CowVal<'_, '_>> {
    value.map(|value| CowVal::Borrowed(value.as_ref()))
}

/// Returns bytes as text, with what is not UTF-8 replaced.
pub(super) fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Returns a CEL string.
pub(super) fn string<'a>(text: impl Into<Cow<'a, str>>) -> Value {
    Box::new(CelString::from(text.into().into_owned()))
}

/// Returns a CEL integer; what does not fit is the largest.
pub(super) fn integer(number: u64) -> Value {
    Box::new(CelInt::from(i64::try_from(number).unwrap_or(i64::MAX)))
}

/// Returns JSON as a CEL value. Numbers are integers where they can be.
pub(super) fn from_json(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Box::new(CelNull),
        serde_json::Value::Bool(bool) => Box::new(CelBool::from(bool)),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Box::new(CelInt::from(int)),
            (None, Some(uint)) => Box::new(CelUInt::from(uint)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::MAX))),
        },
        serde_json::Value::String(text) => string(text),
        serde_json::Value::Array(items) => {
            let items: Vec<Value> = items.into_iter().map(from_json).collect();
            Box::new(CelList::from(items))
        }
        serde_json::Value::Object(fields) => {
            let entries = fields
                .into_iter()
                .map(|(name, field)| (CelMapKey::from(name), from_json(field)));
            Box::new(CelMap::from(entries.collect::<HashMap<_, _>>()))
        }
    }
}
