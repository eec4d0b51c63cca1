//! Configurations as they are written, for programs that write the resources that carry them to Envoy.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::carrier;
use crate::configuration::Configuration;
use crate::error::{Invalid, ValidationErrors};
use crate::file;
use crate::json::Json;
use crate::lint;
use crate::path::Path;
use crate::resources;

/// A plugin configuration, and the document that it was read from.
#[derive(Debug)]
pub struct Source {
    /// The configuration, with the warnings on it and on what carries it.
    pub configuration: Configuration,
    /// The same in the long form: an object with `policies`, and the settings in the order in which they were written.
    pub document: Json,
}

// === impl Source ===

impl Source {
    /// Returns whether an expression reads `auth`.
    #[must_use]
    pub fn reads_auth(&self) -> bool {
        lint::reads_auth(&self.configuration)
    }

    /// Returns whether the document sets a field of the long form.
    #[must_use]
    pub fn sets(&self, field: &str) -> bool {
        self.document.field(field).is_some()
    }
}

/// Reads the plugin configuration of a file that has one, as [`parse_carried`](crate::parse_carried) does, and keeps
/// its document.
///
/// # Errors
///
/// As [`parse_carried`](crate::parse_carried).
pub fn parse_source(yaml: &[u8]) -> Result<Source, ValidationErrors> {
    let configuration = file::parse_carried(yaml)?;
    let mut errors = ValidationErrors::default();
    match document(yaml, &configuration, &mut errors) {
        Ok(document) if errors.is_empty() => Ok(Source {
            configuration,
            document,
        }),
        _ => Err(errors),
    }
}

/// Returns the long form of a valid configuration.
fn document(
    yaml: &[u8],
    configuration: &Configuration,
    errors: &mut ValidationErrors,
) -> Result<Json, Invalid> {
    let documents = carrier::documents(yaml, errors)?;
    let carried = carrier::find(&documents, errors)?;
    if let Some(carried) = carried.first() {
        let document = carried.configuration(errors)?.into_owned();
        return Ok(long_form(&[document], configuration));
    }
    Ok(long_form(&documents, configuration))
}

fn long_form(documents: &[Json], configuration: &Configuration) -> Json {
    let mut parts = Parts::default();
    match documents {
        [document] if resources::is_list(document) => {
            parts.add(document, &Path::Root, &accepted(configuration));
        }
        [document] if is_policy(document) => parts.policies.push(document.clone()),
        [document] => return document.clone(),
        documents => {
            let root = Path::Root.field("documents");
            let accepted = accepted(configuration);
            for (position, document) in documents.iter().enumerate() {
                parts.add(document, &root.item(position), &accepted);
            }
        }
    }
    parts.into_document()
}

/// Returns whether a document is a policy by itself.
fn is_policy(document: &Json) -> bool {
    ["kind", "apiVersion", "spec"]
        .iter()
        .any(|field| document.field(field).is_some())
}

/// Returns the paths of the policies that are in force: of several for one target, Kuadrant accepts the oldest.
fn accepted(configuration: &Configuration) -> BTreeSet<&str> {
    let policies = configuration.policies.iter();
    policies.map(|policy| policy.path.as_str()).collect()
}

/// The resources that a configuration is made of.
#[derive(Default)]
struct Parts {
    policies: Vec<Json>,
    routes: Vec<Json>,
}

// === impl Parts ===

impl Parts {
    /// Adds a resource, or those of a list. It recurses as deep as documents nest, which the parser bounds.
    fn add(&mut self, json: &Json, path: &Path<'_>, accepted: &BTreeSet<&str>) {
        if resources::is_list(json) {
            let path = path.field("items");
            for (position, item) in carrier::items(json, "items").iter().enumerate() {
                self.add(item, &path.item(position), accepted);
            }
        } else if carrier::text(json, "kind") == Some("HTTPRoute") {
            self.routes.push(json.clone());
        } else if accepted.contains(path.to_string().as_str()) {
            self.policies.push(json.clone());
        }
    }

    fn into_document(self) -> Json {
        let mut fields = vec![("policies".to_owned(), Json::Array(self.policies))];
        if !self.routes.is_empty() {
            fields.push(("routes".to_owned(), Json::Array(self.routes)));
        }
        Json::Object(fields)
    }
}
