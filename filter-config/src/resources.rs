//! The policies and routes of a configuration: in lists of their own, or together in a list of Kubernetes or in several
//! documents.

use std::collections::BTreeMap;

use crate::bounds;
use crate::effective;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::fields::{Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::policy::{self, Policy};
use crate::reader;
use crate::route::{self, Route};
use crate::suggestion;
use crate::warning::WarningKind;

/// The policies and routes of a configuration.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    /// The policies, with distinct names.
    pub(crate) policies: Vec<Policy>,
    /// The routes, with distinct names, if there are any.
    pub(crate) routes: Option<Vec<Route>>,
}

/// A list of resources, as `kubectl get` writes it.
pub(crate) const LIST: Schema = Schema {
    known: &["apiVersion", "kind", "items"],
    ignored: &["metadata"],
};

/// The kinds that a configuration is made of.
const KINDS: [&str; 2] = ["TokenRateLimitPolicy", "HTTPRoute"];

// === impl Resources ===

impl Resources {
    /// Reads `policies`.
    pub(crate) fn read_policies(
        json: &Json,
        path: &Path<'_>,
        errors: &mut ValidationErrors,
    ) -> Result<Vec<Policy>, Invalid> {
        let items = reader::list(json, "policies", bounds::POLICIES, path, errors)?;
        if items.is_empty() {
            errors.push(path, ErrorKind::Empty);
        }
        let mut resources = Self::default();
        for (position, item) in items.iter().enumerate() {
            resources.add_policy(item, &path.item(position), errors);
        }
        resources.check(path, errors)?;
        Ok(resources.policies)
    }

    /// Reads `routes`.
    pub(crate) fn read_routes(
        json: &Json,
        path: &Path<'_>,
        errors: &mut ValidationErrors,
    ) -> Result<Vec<Route>, Invalid> {
        let items = reader::list(json, "routes", bounds::ROUTES, path, errors)?;
        if items.is_empty() {
            errors.push(path, ErrorKind::Empty);
        }
        let mut resources = Self::default();
        for (position, item) in items.iter().enumerate() {
            resources.add_route(item, &path.item(position), errors);
        }
        let routes = resources.routes.unwrap_or_default();
        check_routes(&routes, path, errors)?;
        Ok(routes)
    }

    /// Reads a list of Kubernetes. Resources of other kinds in it are left out.
    pub(crate) fn read_list(
        json: &Json,
        path: &Path<'_>,
        errors: &mut ValidationErrors,
    ) -> Result<Self, Invalid> {
        let mut resources = Self::default();
        resources.add(json, path, errors);
        resources.check_policies(path, errors);
        resources.check(path, errors)?;
        Ok(resources)
    }

    /// Reads several documents, as [`read_list`](Self::read_list) reads the items of a list.
    #[cfg(feature = "yaml")]
    pub(crate) fn read_documents(
        documents: &[Json],
        errors: &mut ValidationErrors,
    ) -> Result<Self, Invalid> {
        let path = Path::Root.field("documents");
        let mut resources = Self::default();
        for (position, document) in documents.iter().enumerate() {
            resources.add(document, &path.item(position), errors);
        }
        resources.check_policies(&Path::Root, errors);
        resources.check(&Path::Root, errors)?;
        Ok(resources)
    }

    /// Adds a resource, or those of a list. It recurses as deep as documents nest, which the parser bounds.
    fn add(&mut self, json: &Json, path: &Path<'_>, errors: &mut ValidationErrors) {
        if is_list(json) {
            let Ok(fields) = Fields::read(json, path, &LIST, errors) else {
                return;
            };
            let items = path.field("items");
            let Some(json) = fields.get("items") else {
                return;
            };
            // The number of items of each kind is bounded.
            let list = reader::list(json, "items", usize::MAX, &items, errors);
            for (position, item) in list.unwrap_or_default().iter().enumerate() {
                self.add(item, &items.item(position), errors);
            }
            return;
        }
        match kind(json) {
            // Without a kind it is nothing, and the reader of policies says what is missing.
            None | Some("TokenRateLimitPolicy") => self.add_policy(json, path, errors),
            Some("HTTPRoute") => self.add_route(json, path, errors),
            Some(other) => {
                if let Some(kind) = suggestion::typing_error(other, &KINDS) {
                    let kind = ErrorKind::Unexpected {
                        found: format!("{other:?}"),
                        expected: format!("{kind:?}"),
                    };
                    errors.push(&path.field("kind"), kind);
                } else if is_kuadrant(json) {
                    errors.warn(path, WarningKind::NotRead(other.to_owned()));
                }
            }
        }
    }

    fn add_policy(&mut self, json: &Json, path: &Path<'_>, errors: &mut ValidationErrors) {
        self.policies.extend(policy::read(json, path, errors));
    }

    fn add_route(&mut self, json: &Json, path: &Path<'_>, errors: &mut ValidationErrors) {
        let routes = self.routes.get_or_insert_default();
        routes.extend(route::read(json, path, errors));
    }

    /// Checks that there are policies.
    fn check_policies(&self, path: &Path<'_>, errors: &mut ValidationErrors) {
        if self.policies.is_empty() && errors.is_empty() {
            errors.push(path, ErrorKind::NoPolicy);
        }
    }

    /// Checks that there is not too much of anything, and nothing twice.
    fn check(&self, path: &Path<'_>, errors: &mut ValidationErrors) -> Result<(), Invalid> {
        let policies = self.policies.len();
        reader::at_most(policies, "policies", bounds::POLICIES, path, errors)?;
        let limits = self.policies.iter().map(|policy| policy.limits.len());
        let unit = "limits of all policies";
        reader::at_most(limits.sum(), unit, bounds::ALL_LIMITS, path, errors)?;
        let names = self.policies.iter();
        let names = names.map(|policy| (policy.name.as_str(), policy.path.as_str()));
        check_distinct("policy", names, errors);
        match &self.routes {
            Some(routes) => check_routes(routes, path, errors),
            None => Ok(()),
        }
    }

    /// Leaves out the policies that Kuadrant does not accept, because an older one has the same target. Without
    /// routes, policies have no target, and all apply.
    pub(crate) fn leave_out_newer(&mut self, errors: &mut ValidationErrors) {
        if self.routes.is_some() {
            effective::leave_out_newer(&mut self.policies, errors);
        }
    }
}

fn check_routes(
    routes: &[Route],
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<(), Invalid> {
    reader::at_most(routes.len(), "routes", bounds::ROUTES, path, errors)?;
    let names = routes.iter();
    let names = names.map(|route| (route.name.as_str(), route.path.as_str()));
    check_distinct("route", names, errors);
    let matches = routes.iter().map(|route| {
        let of_rules = route.rules.iter().map(|rule| rule.matches.len());
        of_rules
            .sum::<usize>()
            .saturating_mul(route.hostnames.len())
    });
    let unit = "matches under hostnames";
    reader::at_most(matches.sum(), unit, bounds::ROUTING, path, errors)
}

/// Checks that no name is given twice. Each name comes with the path to what it names.
fn check_distinct<'n>(
    what: &str,
    names: impl Iterator<Item = (&'n str, &'n str)>,
    errors: &mut ValidationErrors,
) {
    let names: Vec<(&str, &str)> = names.collect();
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for (position, (name, path)) in names.iter().enumerate() {
        let first = *known.entry(name).or_insert(position);
        if let Some((_, first_path)) = names.get(first)
            && first != position
        {
            let kind = ErrorKind::Duplicate {
                what: format!("{what} {name:?}"),
                first: (*first_path).to_owned(),
            };
            errors.push(&Path::At(path), kind);
        }
    }
}

/// Returns whether a document is a list of Kubernetes.
pub(crate) fn is_list(json: &Json) -> bool {
    kind(json).is_some_and(|kind| kind.ends_with("List"))
}

fn kind(json: &Json) -> Option<&str> {
    match json.field("kind")? {
        Json::String(kind) => Some(kind),
        _ => None,
    }
}

/// Returns whether a resource is one of Kuadrant's.
fn is_kuadrant(json: &Json) -> bool {
    let version = json.field("apiVersion");
    matches!(version, Some(Json::String(version)) if version.starts_with("kuadrant.io/"))
}
