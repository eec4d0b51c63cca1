//! A `TokenRateLimitPolicy`, as Kuadrant defines it.

use crate::bounds;
use crate::expression::Expression;
use crate::fault::{FaultKind, Faults};
use crate::fields::{self, Fields, Schema};
use crate::json::Json;
use crate::limit::{self, Limit};
use crate::path::Path;
use crate::usage;

/// A policy: limits under a common condition.
#[derive(Debug)]
pub struct Policy {
    /// `namespace/name`; the namespace is `default` where the policy gives none.
    pub name: String,
    /// What the policy is attached to.
    pub target: TargetRef,
    /// Whether the more or the less specific of two policies wins.
    pub precedence: Precedence,
    /// What of the other policy is replaced.
    pub strategy: Strategy,
    /// The predicates that all have to hold for any of the limits to apply.
    pub when: Vec<Expression>,
    /// The limits, at least one, in the order in which they are written.
    pub limits: Vec<Limit>,
    /// JSON pointers (RFC 6901) to the total of tokens in a response, in the order in which they are
    /// tried; empty where the policy leaves that to the dialects. At most [`bounds::TOTAL_TOKENS`].
    pub total_tokens: Vec<String>,
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

/// Which of two policies wins, this one or one that is attached to something more specific.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precedence {
    /// The other.
    #[default]
    Defaults,
    /// This one.
    Overrides,
}

/// What of a policy is replaced by another that wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// All of it.
    #[default]
    Atomic,
    /// Limits of the same name, and `when`.
    Merge,
}

// === impl Policy ===

impl Policy {
    /// The domain under which Kuadrant has the policy's limits in limitador: the namespace and name of
    /// what it is attached to, which is in the policy's own namespace.
    #[must_use]
    pub fn domain(&self) -> String {
        let namespace = self.name.split('/').next().unwrap_or_default();
        format!("{namespace}/{}", self.target.name)
    }
}

pub(crate) const POLICY: Schema = Schema {
    known: &["apiVersion", "kind", "metadata", "spec"],
    ignored: &["status"],
};

pub(crate) const METADATA: Schema = Schema {
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
};

pub(crate) const SPEC: Schema = Schema {
    known: &[
        "targetRef",
        "limits",
        "when",
        "dataExtraction",
        "defaults",
        "overrides",
    ],
    ignored: &[],
};

pub(crate) const TARGET: Schema = Schema {
    known: &["group", "kind", "name", "sectionName"],
    ignored: &[],
};

pub(crate) const RULES: Schema = Schema {
    known: &["strategy", "limits", "when", "dataExtraction"],
    ignored: &[],
};

pub(crate) const DATA_EXTRACTION: Schema = Schema {
    known: &["response"],
    ignored: &[],
};

pub(crate) const RESPONSE: Schema = Schema {
    known: &["totalTokens"],
    ignored: &[],
};

/// A spec.
struct Spec {
    target: TargetRef,
    precedence: Precedence,
    strategy: Strategy,
    rules: Rules,
}

/// What stands in a spec, or in its `defaults` or `overrides`.
struct Rules {
    when: Vec<Expression>,
    limits: Vec<Limit>,
    total_tokens: Vec<String>,
}

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
    let Spec {
        target,
        precedence,
        strategy,
        rules,
    } = spec?;
    Some(Policy {
        name: name?,
        target,
        precedence,
        strategy,
        when: rules.when,
        limits: rules.limits,
        total_tokens: rules.total_tokens,
    })
}

/// Checks a field that has one value only.
pub(crate) fn constant(
    fields: Fields<'_>,
    name: &str,
    value: &str,
    path: &Path<'_>,
    faults: &mut Faults,
) {
    if let Some(json) = fields.require(name, path, faults) {
        let _: Option<()> = fields::choice(json, &[(value, ())], &path.field(name), faults);
    }
}

/// Reads the metadata of a resource: its name, with its namespace.
pub(crate) fn metadata(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<String> {
    let fields = Fields::read(json, path, &METADATA, faults)?;
    let name = fields
        .require("name", path, faults)
        .and_then(|json| resource_name(json, &path.field("name"), faults));
    let default = || "default".to_owned();
    let namespace = fields.read_or("namespace", path, faults, default, resource_name);
    Some(format!("{}/{}", namespace?, name?))
}

/// Reads the name of a resource or of a part of one.
pub(crate) fn resource_name(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<String> {
    let name = fields::name(json, bounds::NAME_BYTES, path, faults)?;
    if name.contains('/') {
        faults.push(path, FaultKind::Malformed("a name must not contain \"/\""));
        return None;
    }
    Some(name)
}

fn spec(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Spec> {
    let fields = Fields::read(json, path, &SPEC, faults)?;
    let target = fields
        .require("targetRef", path, faults)
        .and_then(|json| target(json, &path.field("targetRef"), faults));
    for (name, other) in [
        ("limits", "defaults"),
        ("when", "defaults"),
        ("dataExtraction", "defaults"),
        ("limits", "overrides"),
        ("when", "overrides"),
        ("dataExtraction", "overrides"),
        ("defaults", "overrides"),
    ] {
        if fields.get(name).is_some() && fields.get(other).is_some() {
            faults.push(&path.field(name), FaultKind::Excludes(other));
        }
    }
    let section = [
        ("defaults", Precedence::Defaults),
        ("overrides", Precedence::Overrides),
    ];
    let section = section
        .into_iter()
        .find_map(|(name, precedence)| Some((name, precedence, fields.get(name)?)));
    let Some((name, precedence, json)) = section else {
        let rules = rules(fields, path, faults);
        return Some(Spec {
            target: target?,
            precedence: Precedence::default(),
            strategy: Strategy::default(),
            rules: rules?,
        });
    };
    let path = path.field(name);
    let fields = Fields::read(json, &path, &RULES, faults)?;
    let strategy = fields.read_or("strategy", &path, faults, Strategy::default, strategy);
    let rules = rules(fields, &path, faults);
    Some(Spec {
        target: target?,
        precedence,
        strategy: strategy?,
        rules: rules?,
    })
}

fn strategy(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Strategy> {
    let strategies = [("atomic", Strategy::Atomic), ("merge", Strategy::Merge)];
    fields::choice(json, &strategies, path, faults)
}

fn target(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<TargetRef> {
    let fields = Fields::read(json, path, &TARGET, faults)?;
    constant(fields, "group", "gateway.networking.k8s.io", path, faults);
    let kind = fields.require("kind", path, faults).and_then(|json| {
        let kinds = [("Gateway", "Gateway"), ("HTTPRoute", "HTTPRoute")];
        fields::choice(json, &kinds, &path.field("kind"), faults)
    });
    let name = fields
        .require("name", path, faults)
        .and_then(|json| resource_name(json, &path.field("name"), faults));
    let section_name = fields.read_optional("sectionName", path, faults, resource_name);
    Some(TargetRef {
        kind: kind?.to_owned(),
        name: name?,
        section_name: section_name?,
    })
}

fn rules(fields: Fields<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Rules> {
    let when = fields.read_or("when", path, faults, Vec::new, limit::when);
    let total_tokens = fields.read_or("dataExtraction", path, faults, Vec::new, data_extraction);
    let limits = fields
        .require("limits", path, faults)
        .and_then(|json| limit::read(json, &path.field("limits"), faults));
    Some(Rules {
        when: when?,
        limits: limits?,
        total_tokens: total_tokens?,
    })
}

/// Reads `dataExtraction`: where the total of tokens is in a response.
fn data_extraction(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Vec<String>> {
    let fields = Fields::read(json, path, &DATA_EXTRACTION, faults)?;
    fields.read_or("response", path, faults, Vec::new, |json, path, faults| {
        let fields = Fields::read(json, path, &RESPONSE, faults)?;
        let total_tokens = |json: &Json, path: &Path<'_>, faults: &mut Faults| {
            usage::pointers(json, &bounds::TOTAL_TOKENS, path, faults)
        };
        fields.read_or("totalTokens", path, faults, Vec::new, total_tokens)
    })
}
