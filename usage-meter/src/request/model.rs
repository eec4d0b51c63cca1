//! The change of the model that a request names.

mod others;
#[cfg(test)]
mod tests;

pub use others::allows_others;

use super::splice::Object;
use crate::json::BYTE_ORDER_MARK;

/// Returns the body with another `model`; all other bytes stay the same. `None` if the body is not a JSON
/// object that names a model exactly once.
///
/// ```
/// use usage_meter::request::model;
///
/// let body = br#"{"model":"large","messages":[]}"#;
/// assert_eq!(model::replace(body, "small").unwrap(), br#"{"model":"small","messages":[]}"#);
/// ```
#[cold]
#[must_use]
pub fn replace(body: &[u8], model: &str) -> Option<Vec<u8>> {
    let object = Object::new(body)?;
    let value = object.find("model").ok()??;
    if !object.text(&value).starts_with(b"\"") {
        return None;
    }
    object.replace(&value, serde_json::to_string(model).ok()?.as_bytes())
}

/// Returns whether every server reads the same model in a body, if it reads one: no key of a JSON object is one that
/// names a model but for case, which some servers ignore, or is written with escapes or other letters than ASCII.
///
/// Whether a body names several models is known from its [`Parameters`](super::Parameters::names_one_model).
#[cold]
#[must_use]
pub fn is_certain(body: &[u8]) -> bool {
    let text = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    if !text.trim_ascii_start().starts_with(b"{") {
        // A form has no keys that are alike.
        return true;
    }
    Object::new(body).is_some_and(|object| {
        object.check_keys(&["model", "model_id", "modelId"]).is_ok() && object.find("model").is_ok()
    })
}
