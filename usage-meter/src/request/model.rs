//! The change of the model that a request names.

use super::splice;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The part of a body that changes.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
}

/// Returns the body with another `model`; all other bytes stay the same. `None` if the body is not a JSON
/// object that names a model exactly once.
///
/// ```
/// use usage_meter::request::model;
///
/// let body = br#"{"model":"large","messages":[]}"#;
/// assert_eq!(model::replace(body, "small").unwrap(), br#"{"model":"small","messages":[]}"#);
/// ```
#[must_use]
pub fn replace(body: &[u8], model: &str) -> Option<Vec<u8>> {
    let text = str::from_utf8(body).ok()?;
    let json = text.strip_prefix('\u{feff}').unwrap_or(text);
    // `serde` would read an array as the members in order.
    if !json.trim_start().starts_with('{') {
        return None;
    }
    let value = serde_json::from_str::<Body<'_>>(json).ok()?.model?.get();
    if !value.starts_with('"') {
        return None;
    }
    splice::replace(text, value, &serde_json::to_string(model).ok()?)
}
