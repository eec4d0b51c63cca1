//! An `HTTPRoute`, as the Gateway API defines it: which requests are its own. Where they are sent is
//! Envoy's concern.

mod hostname;
mod matching;

use crate::bounds;
use crate::fault::{FaultKind, Faults};
use crate::fields::{self, Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::policy;

pub(crate) use hostname::{Hostname, host};
pub(crate) use matching::RouteMatch;
#[cfg(test)]
pub(crate) use matching::{MATCH, NAMED, PATH};

/// A route.
#[derive(Debug)]
pub(crate) struct Route {
    /// `namespace/name`; the namespace is `default` where the route gives none.
    pub(crate) name: String,
    /// The hosts, at least one.
    pub(crate) hostnames: Vec<Hostname>,
    /// The rules, at least one.
    pub(crate) rules: Vec<Rule>,
}

/// A rule of a route.
#[derive(Debug)]
pub(crate) struct Rule {
    /// The name, by which a policy can be attached to it.
    pub(crate) name: Option<String>,
    /// A request is the rule's if any of these matches; at least one.
    pub(crate) matches: Vec<RouteMatch>,
}

pub(crate) const ROUTE: Schema = Schema {
    known: &["apiVersion", "kind", "metadata", "spec"],
    ignored: &["status"],
};

pub(crate) const SPEC: Schema = Schema {
    known: &["hostnames", "rules"],
    // What comes to this filter comes to the parent.
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

/// Reads `routes`.
pub(crate) fn read(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Vec<Route>> {
    let items = fields::list(json, "routes", bounds::ROUTES, path, faults)?;
    if items.is_empty() {
        faults.push(path, FaultKind::MustNotBeEmpty);
    }
    let mut routes: Vec<(usize, Route)> = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let item_path = path.item(position);
        let Some(route) = route(item, &item_path, faults) else {
            continue;
        };
        if let Some((first, _)) = routes.iter().find(|(_, known)| known.name == route.name) {
            let kind = FaultKind::Repeated {
                value: format!("the route {:?}", route.name),
                first: path.item(*first).to_string(),
            };
            faults.push(&item_path, kind);
        }
        routes.push((position, route));
    }
    let routes: Vec<Route> = routes.into_iter().map(|(_, route)| route).collect();
    let matches = routes.iter().map(|route| {
        let of_rules = route.rules.iter().map(|rule| rule.matches.len());
        of_rules
            .sum::<usize>()
            .saturating_mul(route.hostnames.len())
    });
    let unit = "matches under hostnames";
    fields::at_most(matches.sum(), unit, bounds::ROUTING, path, faults).then_some(routes)
}

fn route(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Route> {
    let fields = Fields::read(json, path, &ROUTE, faults)?;
    let version = "gateway.networking.k8s.io/v1";
    policy::constant(fields, "apiVersion", version, path, faults);
    policy::constant(fields, "kind", "HTTPRoute", path, faults);
    let name = fields
        .require("metadata", path, faults)
        .and_then(|json| policy::metadata(json, &path.field("metadata"), faults));
    let spec = fields
        .require("spec", path, faults)
        .and_then(|json| spec(json, &path.field("spec"), faults));
    let (hostnames, rules) = spec?;
    Some(Route {
        name: name?,
        hostnames,
        rules,
    })
}

fn spec(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<(Vec<Hostname>, Vec<Rule>)> {
    let fields = Fields::read(json, path, &SPEC, faults)?;
    let any = || vec![Hostname::Any];
    let hostnames = fields.read_or("hostnames", path, faults, any, |json, path, faults| {
        let most = bounds::ROUTE_HOSTNAMES;
        let hostnames = items(json, "hostnames", most, path, faults, hostname::read)?;
        Some(if hostnames.is_empty() {
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
    let rules = fields.read_or("rules", path, faults, all, |json, path, faults| {
        let rules = items(json, "rules", bounds::ROUTE_RULES, path, faults, rule)?;
        Some(if rules.is_empty() { all() } else { rules })
    });
    Some((hostnames?, rules?))
}

fn rule(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Rule> {
    let fields = Fields::read(json, path, &RULE, faults)?;
    let name = fields.read_optional("name", path, faults, policy::resource_name);
    let all = || vec![RouteMatch::default()];
    let matches = fields.read_or("matches", path, faults, all, |json, path, faults| {
        let most = bounds::ROUTE_MATCHES;
        let matches = items(json, "matches", most, path, faults, matching::read)?;
        Some(if matches.is_empty() { all() } else { matches })
    });
    Some(Rule {
        name: name?,
        matches: matches?,
    })
}

/// Reads a list of things with `reader`.
fn items<T>(
    json: &Json,
    unit: &'static str,
    most: usize,
    path: &Path<'_>,
    faults: &mut Faults,
    reader: impl Fn(&Json, &Path<'_>, &mut Faults) -> Option<T>,
) -> Option<Vec<T>> {
    let items = fields::list(json, unit, most, path, faults)?;
    let mut read = Vec::with_capacity(items.len());
    for (position, json) in items.iter().enumerate() {
        read.extend(reader(json, &path.item(position), faults));
    }
    Some(read)
}
