//! An `HTTPRoute`, as defined by the Gateway API: the requests that belong to it. Envoy decides where they are sent.

mod hostname;
mod matching;

use crate::bounds;
use crate::error::{Invalid, ValidationErrors};
use crate::fields::{Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::reader;
use crate::resource;

pub(crate) use hostname::{Hostname, host};
pub use matching::UnknownRoute;
#[cfg(test)]
pub(crate) use matching::{MATCH, NAMED, PATH};
pub(crate) use matching::{RouteFuel, RouteMatch};

/// A route.
#[derive(Debug)]
pub(crate) struct Route {
    /// `namespace/name`; the namespace is `default` if the route has none.
    pub(crate) name: String,
    /// The path to it in the document.
    pub(crate) path: String,
    /// The hosts, at least one.
    pub(crate) hostnames: Vec<Hostname>,
    /// The rules, at least one.
    pub(crate) rules: Vec<Rule>,
}

/// A rule of a route.
#[derive(Debug)]
pub(crate) struct Rule {
    /// The name by which a policy can be attached to the rule.
    pub(crate) name: Option<String>,
    /// The matches, at least one. A request belongs to the rule if any of these matches.
    pub(crate) matches: Vec<RouteMatch>,
}

pub(crate) const ROUTE: Schema = Schema {
    known: &["apiVersion", "kind", "metadata", "spec"],
    ignored: &["status"],
};

pub(crate) const SPEC: Schema = Schema {
    known: &["hostnames", "rules"],
    // All requests of this filter belong to the parent.
    ignored: &["parentRefs", "useDefaultGateways"],
};

pub(crate) const RULE: Schema = Schema {
    known: &["name", "matches"],
    ignored: &[
        "backendRefs",
        "filters",
        "retry",
        "sessionPersistence",
        "timeouts",
    ],
};

/// The versions of `HTTPRoute` that the Gateway API has served. They have the same fields.
pub(crate) const VERSIONS: [&str; 3] = [
    "gateway.networking.k8s.io/v1",
    "gateway.networking.k8s.io/v1beta1",
    "gateway.networking.k8s.io/v1alpha2",
];

/// Reads a route.
pub(crate) fn read(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Route, Invalid> {
    let fields = Fields::read(json, path, &ROUTE, errors)?;
    resource::check_one_of(fields, "apiVersion", &VERSIONS, path, errors);
    resource::check_constant(fields, "kind", "HTTPRoute", path, errors);
    let metadata = fields.require("metadata", path, errors, resource::metadata);
    let spec = fields.require("spec", path, errors, spec);
    let (hostnames, rules) = spec?;
    Ok(Route {
        name: metadata?.name,
        path: path.to_string(),
        hostnames,
        rules,
    })
}

fn spec(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<(Vec<Hostname>, Vec<Rule>), Invalid> {
    let fields = Fields::read(json, path, &SPEC, errors)?;
    let any = || vec![Hostname::Any];
    let hostnames = fields.read_or("hostnames", path, errors, any, |json, path, errors| {
        let max = bounds::ROUTE_HOSTNAMES;
        let hostnames = items(json, "hostnames", max, path, errors, hostname::read)?;
        Ok(if hostnames.is_empty() {
            any()
        } else {
            hostnames
        })
    });
    let all = || {
        vec![Rule {
            name: None,
            matches: vec![RouteMatch::default()],
        }]
    };
    let rules = fields.read_or("rules", path, errors, all, |json, path, errors| {
        let rules = items(json, "rules", bounds::ROUTE_RULES, path, errors, rule)?;
        Ok(if rules.is_empty() { all() } else { rules })
    });
    Ok((hostnames?, rules?))
}

fn rule(json: &Json, path: &Path<'_>, errors: &mut ValidationErrors) -> Result<Rule, Invalid> {
    let fields = Fields::read(json, path, &RULE, errors)?;
    let name = fields.read_optional("name", path, errors, resource::resource_name);
    let all = || vec![RouteMatch::default()];
    let matches = fields.read_or("matches", path, errors, all, |json, path, errors| {
        let max = bounds::ROUTE_MATCHES;
        let matches = items(json, "matches", max, path, errors, matching::read)?;
        Ok(if matches.is_empty() { all() } else { matches })
    });
    Ok(Rule {
        name: name?,
        matches: matches?,
    })
}

/// Reads a list of at most `max` items with `read_item`.
fn items<T>(
    json: &Json,
    unit: &'static str,
    max: usize,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
    read_item: impl Fn(&Json, &Path<'_>, &mut ValidationErrors) -> Result<T, Invalid>,
) -> Result<Vec<T>, Invalid> {
    let items = reader::list(json, unit, max, path, errors)?;
    let mut read = Vec::with_capacity(items.len());
    for (position, json) in items.iter().enumerate() {
        read.extend(read_item(json, &path.item(position), errors));
    }
    Ok(read)
}
