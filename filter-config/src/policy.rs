//! A `TokenRateLimitPolicy`, as Kuadrant defines it.

use std::str::FromStr as _;

use crate::bounds;
use crate::expression::{Expression, Role};
use crate::fault::{FaultKind, Faults};
use crate::fields::{self, Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::window::Window;

/// A policy: limits under a common condition.
#[derive(Debug)]
pub struct Policy {
    /// `namespace/name`; the namespace is `default` where the policy gives none.
    pub name: String,
    /// What the policy is attached to. It does not matter to the filter, which enforces every
    /// policy that it is given.
    pub target: TargetRef,
    /// The predicates that all have to hold for any of the limits to apply.
    pub when: Vec<Expression>,
    /// The limits, at least one, in the order in which they are written.
    pub limits: Vec<Limit>,
}

/// What a policy is attached to: a resource of the Gateway API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRef {
    /// The kind: `Gateway` or `HTTPRoute`.
    pub kind: String,
    /// The name of the resource.
    pub name: String,
    /// The section of the resource: a listener or a rule.
    pub section_name: Option<String>,
}

/// A limit: rates for each combination of values of its counters.
#[derive(Debug)]
pub struct Limit {
    /// The name, unique in its policy.
    pub name: String,
    /// The predicates that all have to hold for the limit to apply.
    pub when: Vec<Expression>,
    /// The expressions whose values together are the key that is counted under.
    pub counters: Vec<Expression>,
    /// The rates, at least one, no two with the same window.
    pub rates: Vec<Rate>,
}

/// A number of tokens in a window of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens in a window. Zero admits nobody.
    pub limit: u64,
    /// The window, which begins with the first request that is counted in it.
    pub window: Window,
}

const POLICY: Schema = Schema {
    known: &["apiVersion", "kind", "metadata", "spec"],
    ignored: &["status"],
    planned: &[],
};

const METADATA: Schema = Schema {
    known: &["name", "namespace"],
    // What Kubernetes and its tools write there of their own accord.
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
    planned: &[],
};

const SPEC: Schema = Schema {
    known: &["targetRef", "limits", "when", "defaults", "overrides"],
    ignored: &[],
    planned: &["dataExtraction"],
};

const TARGET: Schema = Schema {
    known: &["group", "kind", "name", "sectionName"],
    ignored: &[],
    planned: &[],
};

const RULES: Schema = Schema {
    known: &["strategy", "limits", "when"],
    ignored: &[],
    planned: &["dataExtraction"],
};

const LIMIT: Schema = Schema {
    known: &["rates", "when", "counters"],
    ignored: &[],
    planned: &[
        "cost",
        "budgets",
        "requests",
        "concurrency",
        "alertAt",
        "shadow",
        "onExceeded",
        "reservation",
        "dataExtraction",
    ],
};

const RATE: Schema = Schema {
    known: &["limit", "window", "algorithm"],
    ignored: &[],
    planned: &[],
};

const PREDICATE: Schema = Schema {
    known: &["predicate"],
    ignored: &[],
    planned: &[],
};

const COUNTER: Schema = Schema {
    known: &["expression"],
    ignored: &[],
    planned: &[],
};

/// The predicates and the limits of a policy.
type Rules = (Vec<Expression>, Vec<Limit>);

/// Reads a policy.
pub(crate) fn read(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Policy> {
    let fields = Fields::read(json, path, &POLICY, faults)?;
    constant(fields, "apiVersion", "kuadrant.io/v1alpha1", path, faults);
    constant(fields, "kind", "TokenRateLimitPolicy", path, faults);
    let name = fields
        .require("metadata", path, faults)
        .and_then(|json| metadata(json, &path.field("metadata"), faults));
    let spec = fields
        .require("spec", path, faults)
        .and_then(|json| spec(json, &path.field("spec"), faults));
    let (target, (when, limits)) = spec?;
    Some(Policy {
        name: name?,
        target,
        when,
        limits,
    })
}

/// Checks a field that has one value only.
fn constant(fields: Fields<'_>, name: &str, value: &str, path: &Path<'_>, faults: &mut Faults) {
    if let Some(json) = fields.require(name, path, faults) {
        let _: Option<()> = fields::choice(json, &[(value, ())], &[], &path.field(name), faults);
    }
}

/// Reads the metadata: the policy's name.
fn metadata(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<String> {
    let fields = Fields::read(json, path, &METADATA, faults)?;
    let name = fields
        .require("name", path, faults)
        .and_then(|json| resource_name(json, &path.field("name"), faults));
    let default = || "default".to_owned();
    let namespace = fields.read_or("namespace", path, faults, default, resource_name);
    Some(format!("{}/{}", namespace?, name?))
}

fn resource_name(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<String> {
    let name = fields::name(json, bounds::NAME_BYTES, path, faults)?;
    if name.contains('/') {
        faults.push(path, FaultKind::Malformed("a name must not contain \"/\""));
        return None;
    }
    Some(name)
}

fn spec(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<(TargetRef, Rules)> {
    let fields = Fields::read(json, path, &SPEC, faults)?;
    let target = fields
        .require("targetRef", path, faults)
        .and_then(|json| target(json, &path.field("targetRef"), faults));
    for (name, other) in [
        ("limits", "defaults"),
        ("when", "defaults"),
        ("limits", "overrides"),
        ("when", "overrides"),
        ("defaults", "overrides"),
    ] {
        if fields.get(name).is_some() && fields.get(other).is_some() {
            faults.push(&path.field(name), FaultKind::Excludes(other));
        }
    }
    // A policy alone has the same limits whichever way they are given.
    let section = ["defaults", "overrides"]
        .into_iter()
        .find_map(|name| Some((name, fields.get(name)?)));
    let rules = match section {
        Some((name, json)) => {
            let path = path.field(name);
            Fields::read(json, &path, &RULES, faults).and_then(|fields| {
                if let Some(json) = fields.get("strategy") {
                    let strategies = [("atomic", ()), ("merge", ())];
                    let path = path.field("strategy");
                    fields::choice(json, &strategies, &[], &path, faults)?;
                }
                rules(fields, &path, faults)
            })
        }
        None => rules(fields, path, faults),
    };
    Some((target?, rules?))
}

fn target(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<TargetRef> {
    let fields = Fields::read(json, path, &TARGET, faults)?;
    constant(fields, "group", "gateway.networking.k8s.io", path, faults);
    let kind = fields.require("kind", path, faults).and_then(|json| {
        let kinds = [("Gateway", "Gateway"), ("HTTPRoute", "HTTPRoute")];
        fields::choice(json, &kinds, &[], &path.field("kind"), faults)
    });
    let name = fields
        .require("name", path, faults)
        .and_then(|json| resource_name(json, &path.field("name"), faults));
    let section_name = fields.read_or(
        "sectionName",
        path,
        faults,
        || None,
        |json, path, faults| resource_name(json, path, faults).map(Some),
    );
    Some(TargetRef {
        kind: kind?.to_owned(),
        name: name?,
        section_name: section_name?,
    })
}

fn rules(fields: Fields<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Rules> {
    let when = fields.read_or("when", path, faults, Vec::new, when);
    let limits = fields
        .require("limits", path, faults)
        .and_then(|json| limits(json, &path.field("limits"), faults));
    Some((when?, limits?))
}

fn limits(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Vec<Limit>> {
    let entries = fields::entries(json, path, faults)?;
    if entries.is_empty() {
        faults.push(path, FaultKind::MustNotBeEmpty);
    }
    if !fields::at_most(entries.len(), "limits", bounds::LIMITS, path, faults) {
        return None;
    }
    let mut limits = Vec::with_capacity(entries.len());
    for (name, json) in entries {
        let path = path.field(name);
        if name.is_empty() {
            faults.push(&path, FaultKind::Malformed("a limit must have a name"));
        } else if fields::at_most(name.len(), "bytes", bounds::NAME_BYTES, &path, faults) {
            fields::is_name(name, &path, faults);
        }
        limits.extend(limit(name, json, &path, faults));
    }
    Some(limits)
}

fn limit(name: &str, json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Limit> {
    let fields = Fields::read(json, path, &LIMIT, faults)?;
    let rates = fields
        .require("rates", path, faults)
        .and_then(|json| rates(json, &path.field("rates"), faults));
    let when = fields.read_or("when", path, faults, Vec::new, when);
    let counters = fields.read_or("counters", path, faults, Vec::new, counters);
    Some(Limit {
        name: name.to_owned(),
        when: when?,
        counters: counters?,
        rates: rates?,
    })
}

fn rates(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Vec<Rate>> {
    let items = fields::list(json, "rates", bounds::RATES, path, faults)?;
    if items.is_empty() {
        faults.push(path, FaultKind::MustNotBeEmpty);
    }
    let mut rates: Vec<(usize, Rate)> = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let item_path = path.item(position);
        let Some(rate) = rate(item, &item_path, faults) else {
            continue;
        };
        let same = |(_, known): &&(usize, Rate)| known.window.as_nanos() == rate.window.as_nanos();
        if let Some((first, _)) = rates.iter().find(same) {
            let kind = FaultKind::Repeated {
                value: format!("the window {}", rate.window),
                first: path.item(*first).to_string(),
            };
            faults.push(&item_path.field("window"), kind);
        }
        rates.push((position, rate));
    }
    Some(rates.into_iter().map(|(_, rate)| rate).collect())
}

fn rate(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Rate> {
    let fields = Fields::read(json, path, &RATE, faults)?;
    let limit = fields
        .require("limit", path, faults)
        .and_then(|json| tokens(json, &path.field("limit"), faults));
    let window = fields
        .require("window", path, faults)
        .and_then(|json| window(json, &path.field("window"), faults));
    let algorithm = fields.read_or(
        "algorithm",
        path,
        faults,
        || (),
        |json, path, faults| {
            let planned = ["calendar", "sliding", "bucket"];
            fields::choice(json, &[("fixed", ())], &planned, path, faults)
        },
    );
    algorithm?;
    Some(Rate {
        limit: limit?,
        window: window?,
    })
}

fn tokens(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<u64> {
    if matches!(json, Json::String(_)) {
        // The model has room for an expression here.
        faults.push(path, FaultKind::NotSupported);
        return None;
    }
    fields::whole(json, &bounds::LIMIT, path, faults)
}

fn window(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Window> {
    let Json::String(text) = json else {
        fields::expected(json, "a duration such as \"1m\"", path, faults);
        return None;
    };
    Window::from_str(text)
        .map_err(|error| faults.push(path, error))
        .ok()
}

fn when(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Vec<Expression>> {
    let items = fields::list(json, "predicates", bounds::PREDICATES, path, faults)?;
    Some(expressions(
        items,
        "predicate",
        &PREDICATE,
        Role::Predicate,
        path,
        faults,
    ))
}

fn counters(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Vec<Expression>> {
    let items = fields::list(json, "counters", bounds::COUNTERS, path, faults)?;
    Some(expressions(
        items,
        "expression",
        &COUNTER,
        Role::Counter,
        path,
        faults,
    ))
}

/// Reads a list of objects that hold one expression each.
fn expressions(
    items: &[Json],
    field: &str,
    schema: &Schema,
    role: Role,
    path: &Path<'_>,
    faults: &mut Faults,
) -> Vec<Expression> {
    let mut expressions = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let item_path = path.item(position);
        let path = item_path.field(field);
        let source = Fields::read(item, &item_path, schema, faults)
            .and_then(|fields| fields.require(field, &item_path, faults))
            .and_then(|json| fields::text(json, bounds::EXPRESSION_BYTES, &path, faults));
        match source.map(|source| Expression::compile(source, role)) {
            Some(Ok(expression)) => expressions.push(expression),
            Some(Err(errors)) => errors
                .into_iter()
                .for_each(|error| faults.push(&path, error)),
            None => {}
        }
    }
    expressions
}
