//! What Kubernetes resources have in common: their type and their metadata.

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::fields::{Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::reader;

pub(crate) const METADATA: Schema = Schema {
    known: &["name", "namespace"],
    // Kubernetes and its tools add these.
    ignored: &[
        "annotations",
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
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
    // The error is in `errors`, and there is no value to use.
    let _ = fields.require(name, path, errors, |json, path, errors| {
        reader::choice(json, &[(value, ())], path, errors)
    });
}

/// Reads the metadata of a resource. Returns its `namespace/name`; the namespace is `default` if not given.
pub(crate) fn metadata(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<String, Invalid> {
    let fields = Fields::read(json, path, &METADATA, errors)?;
    let name = fields.require("name", path, errors, resource_name);
    let default = || "default".to_owned();
    let namespace = fields.read_or("namespace", path, errors, default, resource_name);
    Ok(format!("{}/{}", namespace?, name?))
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
