//! Asks another model: the top-level `model` of a request's body, spliced. Not a byte of the rest
//! changes.

use super::splice;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The part of a body that is changed, found where it stands.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
}

/// The body, asking `model`; `None` where it is not a JSON object that names a model once.
#[must_use]
pub fn replace(body: &[u8], model: &str) -> Option<Vec<u8>> {
    let text = str::from_utf8(body).ok()?;
    let json = text.strip_prefix('\u{feff}').unwrap_or(text);
    // An array would be read as the members in order.
    if !json.trim_start().starts_with('{') {
        return None;
    }
    let named = serde_json::from_str::<Body<'_>>(json).ok()?.model?.get();
    if !named.starts_with('"') {
        return None;
    }
    splice::replace(text, named, &serde_json::to_string(model).ok()?)
}
