//! Warnings on files: what is valid and may do something else than it seems to.
//!
//! They are computed where files are checked, not by the filter.

mod chain;
mod claims;
mod clusters;
mod expressions;
mod limits;
mod numbers;
mod prices;
mod routes;
#[cfg(test)]
mod tests;
mod visit;
mod vm;

use crate::carrier::{Carried, Carrier};
use crate::configuration::Configuration;
use crate::error::ValidationErrors;
use crate::json::Json;
use crate::path::Path;

/// Returns whether an expression of a configuration reads `auth`.
pub(crate) fn reads_auth(configuration: &Configuration) -> bool {
    visit::reads_auth(configuration)
}

/// Adds the warnings on a configuration. Their paths are those in it, rather than in what carries it.
pub(crate) fn configuration(
    configuration: &Configuration,
    carrier: Option<Carrier>,
    errors: &mut ValidationErrors,
) {
    routes::check(configuration, carrier, errors);
    limits::check(configuration, errors);
    limits::leases(configuration, errors);
    claims::check(configuration, errors);
    expressions::check(configuration, errors);
    prices::check(configuration, errors);
}

/// Adds the warnings on the numbers of a configuration, as it is written. With `is_envoy_yaml`, Envoy itself has
/// made texts of some.
pub(crate) fn numbers(
    json: &Json,
    path: &Path<'_>,
    is_envoy_yaml: bool,
    errors: &mut ValidationErrors,
) {
    numbers::check(json, path, is_envoy_yaml, errors);
}

/// Adds the warnings on how a configuration is carried to Envoy. Their paths are those in the file.
pub(crate) fn carrier(
    carried: &Carried<'_>,
    configuration: &Configuration,
    documents: &[Json],
    errors: &mut ValidationErrors,
) {
    vm::check(carried, errors);
    clusters::check(carried, configuration, documents, errors);
    chain::check(carried, configuration, errors);
}
