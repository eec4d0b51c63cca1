//! The change of the model that a request names.

use super::splice::Object;

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
