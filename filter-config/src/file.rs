//! Files: the plugin configurations that a file has, by themselves or in the resources that carry them to Envoy.

#[cfg(test)]
mod tests;

use crate::carrier::{self, Carried, Carrier};
use crate::configuration::{self, Configuration};
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::json::Json;
use crate::lint;
use crate::path::Path;

const SEVERAL: &str = "found several plugin configurations, expected one; pass each by itself";

/// A plugin configuration of a file.
#[derive(Debug)]
pub struct Found {
    /// The path to it in the file, such as `spec.pluginConfig`; `None` if it is the whole file.
    pub path: Option<String>,
    /// The configuration, with the warnings on it and on what carries it.
    pub configuration: Configuration,
}

/// Reads all plugin configurations of a file, from YAML or JSON.
///
/// A file is a plugin configuration as [`parse_yaml`](crate::parse_yaml) reads it, or carries one or several: a
/// `WasmPlugin`, a `TrafficExtension`, an `EnvoyFilter`, an `EnvoyExtensionPolicy` or an `EnvoyPatchPolicy`, by itself, in
/// a list or among other documents, or Envoy's own configuration or a part of it. Of several Wasm plugins, those of
/// other modules are left out.
///
/// # Errors
///
/// As [`parse`](crate::parse), with the paths in the file, for all configurations. A carrier without a
/// configuration is an error too.
pub fn parse_file(yaml: &[u8]) -> Result<Vec<Found>, ValidationErrors> {
    let mut errors = ValidationErrors::default();
    match find(yaml, &mut errors) {
        Ok(found) if errors.is_empty() => Ok(found),
        _ => Err(errors),
    }
}

/// Reads the plugin configuration of a file that has one, as [`parse_file`] does.
///
/// # Errors
///
/// As [`parse_file`]. Several configurations are an error too.
pub fn parse_carried(yaml: &[u8]) -> Result<Configuration, ValidationErrors> {
    let mut found = parse_file(yaml)?;
    if let (Some(found), true) = (found.pop(), found.is_empty()) {
        return Ok(found.configuration);
    }
    let mut errors = ValidationErrors::default();
    errors.push(&Path::Root, ErrorKind::Malformed(SEVERAL));
    Err(errors)
}

fn find(yaml: &[u8], errors: &mut ValidationErrors) -> Result<Vec<Found>, Invalid> {
    let documents = carrier::documents(yaml, errors)?;
    let carried = carrier::find(&documents, errors)?;
    if carried.is_empty() {
        let mut configuration = configuration::read_documents(&documents, errors)?;
        lint::configuration(&configuration, None, errors);
        let root = Path::Root.field("documents");
        for (position, document) in documents.iter().enumerate() {
            let path = match documents.len() {
                1 => Path::Root,
                _ => root.item(position),
            };
            lint::numbers(document, &path, false, errors);
        }
        configuration.warnings = errors.take_warnings();
        return Ok(vec![Found {
            path: None,
            configuration,
        }]);
    }
    let mut found = Vec::with_capacity(carried.len());
    for carried in &carried {
        let mut of_carried = ValidationErrors::default();
        let configuration = read(carried, &documents, &mut of_carried);
        let warnings = of_carried.take_warnings();
        errors.append(of_carried);
        if let Ok(mut configuration) = configuration {
            configuration.warnings = warnings;
            found.push(Found {
                path: Some(carried.path.clone()),
                configuration,
            });
        }
    }
    Ok(found)
}

/// Reads the configuration in a carrier. Errors and warnings have their path in the file.
fn read(
    carried: &Carried<'_>,
    documents: &[Json],
    errors: &mut ValidationErrors,
) -> Result<Configuration, Invalid> {
    let mut within = ValidationErrors::default();
    let configuration = carried.configuration(&mut within).and_then(|json| {
        let configuration = configuration::read(&json, &mut within)?;
        carried.check(&json, &mut within);
        lint::configuration(&configuration, Some(carried.carrier), &mut within);
        let is_envoy_yaml = carried.carrier == Carrier::Envoy && !carried.is_text();
        lint::numbers(&json, &Path::Root, is_envoy_yaml, &mut within);
        Ok(configuration)
    });
    errors.append(within.below(&carried.path));
    let configuration = configuration?;
    lint::carrier(carried, &configuration, documents, errors);
    Ok(configuration)
}
