//! The models that a body names beside its own: gateways before providers use one of them if the first fails.

use crate::json::{BYTE_ORDER_MARK, Members, each_element};

/// The keys that name models, and that of an object with members that some servers take for those of the body.
const KEYS: [&str; 6] = [
    "model",
    "model_id",
    "modelId",
    "models",
    "fallbacks",
    "extra_body",
];

/// How deep objects that name models are nested at most.
const MAX_DEPTH: usize = 4;

/// Returns whether each model that a JSON body names beside its `model` is one that `allows` returns true for: those in
/// `models`, `fallbacks` and `extra_body`. It returns false if they are not certain, and true for a body that is not JSON.
///
/// ```
/// use usage_meter::request::model;
///
/// let body = br#"{"model":"small","models":["large"],"fallbacks":[{"model":"other"}]}"#;
/// assert!(model::allows_others(body, &mut |model| model != "small"));
/// assert!(!model::allows_others(body, &mut |model| model != "other"));
/// ```
#[cold]
#[must_use]
pub fn allows_others(body: &[u8], allows: &mut dyn FnMut(&str) -> bool) -> bool {
    let text = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    if !text.trim_ascii_start().starts_with(b"{") {
        return true;
    }
    object(text, 0, allows).is_some()
}

/// Checks the models of an object; that of the body itself is known. Returns whether there is a model of its own.
fn object(text: &[u8], depth: usize, allows: &mut dyn FnMut(&str) -> bool) -> Option<bool> {
    if depth > MAX_DEPTH || !Members::of(text)?.are_plain(&KEYS) {
        return None;
    }
    let below = depth.saturating_add(1);
    let mut seen = [false; KEYS.len()];
    Members::of(text)?.each(|member| {
        let mut known = KEYS.iter().zip(&mut seen);
        let Some((key, seen)) = known.find(|(key, _)| member.is_named(key)) else {
            return Some(());
        };
        // Servers take the first or the last of several.
        if *seen {
            return None;
        }
        let value = text.get(member.value.clone())?;
        if value == b"null" {
            return Some(());
        }
        *seen = true;
        match *key {
            "models" | "fallbacks" => list(value, below, allows),
            "extra_body" if value.starts_with(b"{") => object(value, below, allows).map(|_| ()),
            "extra_body" => Some(()),
            _ if depth == 0 => Some(()),
            _ => name(value, allows),
        }
    })?;
    let [model, model_id, model_id_in_camel_case, ..] = seen;
    Some(model || model_id || model_id_in_camel_case)
}

/// Checks a list of models, each of which is a name or an object that has one.
fn list(text: &[u8], depth: usize, allows: &mut dyn FnMut(&str) -> bool) -> Option<()> {
    if text.starts_with(b"\"") {
        return name(text, allows);
    }
    each_element(text, |element| {
        if element.starts_with(b"{") {
            object(element, depth, allows)?.then_some(())
        } else {
            name(element, allows)
        }
    })
}

/// Checks the name of a model.
fn name(text: &[u8], allows: &mut dyn FnMut(&str) -> bool) -> Option<()> {
    let name: String = serde_json::from_slice(text).ok()?;
    allows(&name).then_some(())
}
