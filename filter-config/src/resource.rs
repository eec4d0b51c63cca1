//! What Kubernetes resources have in common: their type and their metadata.

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::fields::{Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::reader;
use crate::warning::WarningKind;

pub(crate) const METADATA: Schema = Schema {
    known: &["name", "generateName", "namespace", "creationTimestamp"],
    // Kubernetes and its tools add these.
    ignored: &[
        "annotations",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generation",
        "labels",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    ],
};

/// Checks a required field that has only one value.
pub(crate) fn check_constant(
    fields: Fields<'_>,
    name: &str,
    value: &str,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) {
    check_one_of(fields, name, &[value], path, errors);
}

/// Checks a required field that has only these values.
pub(crate) fn check_one_of(
    fields: Fields<'_>,
    name: &str,
    values: &[&str],
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) {
    let choices: Vec<(&str, ())> = values.iter().map(|value| (*value, ())).collect();
    // The error is in `errors`, and there is no value to use.
    let _ = fields.require(name, path, errors, |json, path, errors| {
        reader::choice(json, &choices, path, errors)
    });
}

/// The metadata of a resource.
#[derive(Debug)]
pub(crate) struct Metadata {
    /// `namespace/name`; the namespace is `default` if not given.
    pub(crate) name: String,
    /// When the resource was created, if it was: a time in UTC, as Kubernetes writes it.
    pub(crate) created: Option<String>,
}

/// Reads the metadata of a resource. What Kubernetes would generate a name for has the prefix as its name.
pub(crate) fn metadata(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Metadata, Invalid> {
    let fields = Fields::read(json, path, &METADATA, errors)?;
    let has_name = fields.get("name").is_some() || fields.get("generateName").is_none();
    let name = if has_name {
        fields.require("name", path, errors, resource_name)
    } else {
        fields.require("generateName", path, errors, |json, path, errors| {
            let name = resource_name(json, path, errors)?;
            errors.warn(path, WarningKind::Unnamed(name.clone()));
            Ok(name)
        })
    };
    let default = || "default".to_owned();
    let namespace = fields.read_or("namespace", path, errors, default, resource_name);
    let created = match fields.get("creationTimestamp") {
        Some(Json::String(time)) if is_utc(time) => Some(time.clone()),
        _ => None,
    };
    Ok(Metadata {
        name: format!("{}/{}", namespace?, name?),
        created,
    })
}

/// Returns whether a text is a time such as `2026-01-31T12:00:00Z`. Such times are in the order of their texts.
fn is_utc(text: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00T00:00:00Z";
    text.len() == FORM.len()
        && text.bytes().zip(FORM).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            _ => byte == *form,
        })
}

/// Reads the name of a resource or of a section of one.
pub(crate) fn resource_name(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<String, Invalid> {
    let name = reader::name(json, bounds::NAME_BYTES, path, errors)?;
    if name.contains('/') {
        let message = "invalid name, expected no \"/\"";
        return Err(errors.push(path, ErrorKind::Malformed(message)));
    }
    Ok(name)
}
