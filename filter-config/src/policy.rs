//! A `TokenRateLimitPolicy`, as defined by Kuadrant.

use usage_meter::UsagePointer;

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::expression::Expression;
use crate::fields::{Fields, Schema};
use crate::json::Json;
use crate::limit::{self, Limit};
use crate::path::Path;
use crate::reader;
use crate::resource::{self, Metadata};
use crate::suggestion;
use crate::values;
use crate::warning::WarningKind;

/// A policy: limits under a common condition.
#[derive(Debug)]
pub struct Policy {
    /// `namespace/name`; the namespace is `default` if the policy has none.
    pub name: String,
    /// The resource that the policy is attached to.
    pub target: TargetRef,
    /// Whether this policy or a more specific one wins.
    pub precedence: Precedence,
    /// What the policy that wins replaces of the other.
    pub strategy: Strategy,
    /// The predicates that all have to be true for any of the limits to apply.
    pub when: Vec<Expression>,
    /// The limits, at least one, in the order of the document.
    pub limits: Vec<Limit>,
    /// JSON pointers (RFC 6901) to the total of tokens in a response, in the order in which they are tried; empty if
    /// the dialect of the response decides. At most [`bounds::TOTAL_TOKENS`].
    pub total_tokens: Vec<UsagePointer>,
    /// When the policy was created, if it was: a time in UTC, as Kubernetes writes it.
    pub(crate) created: Option<String>,
    /// The path to it in the document.
    pub(crate) path: String,
    /// The field of its spec that its limits are in, if they are not in the spec itself.
    pub(crate) section: Option<&'static str>,
}

/// The resource of the Gateway API that a policy is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRef {
    /// The kind: `Gateway` or `HTTPRoute`.
    pub kind: String,
    /// The name of the resource.
    pub name: String,
    /// The section of the resource, a listener or a rule, if the policy is attached to one.
    pub section_name: Option<String>,
}

/// Which of two policies wins: this one or one whose target is more specific.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precedence {
    /// The more specific policy.
    #[default]
    Defaults,
    /// This policy.
    Overrides,
}

/// What a policy that wins replaces of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The whole policy.
    #[default]
    Atomic,
    /// Its limits of the same name, and `when`.
    Merge,
}

// === impl Policy ===

impl Policy {
    /// Returns the domain that Kuadrant gives the policy's limits in limitador: the namespace and the name of its
    /// target, which is in the policy's own namespace.
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

/// The name in `dataExtraction.response` of the total of tokens.
const TOTAL_TOKENS: &str = "totalTokens";

/// A spec.
struct Spec {
    target: TargetRef,
    precedence: Precedence,
    strategy: Strategy,
    rules: Rules,
    section: Option<&'static str>,
}

/// The fields that a spec has, or its `defaults` or `overrides`.
struct Rules {
    when: Vec<Expression>,
    limits: Vec<Limit>,
    total_tokens: Vec<UsagePointer>,
}

/// Reads a policy.
pub(crate) fn read(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Policy, Invalid> {
    let fields = Fields::read(json, path, &POLICY, errors)?;
    resource::check_constant(fields, "apiVersion", "kuadrant.io/v1alpha1", path, errors);
    resource::check_constant(fields, "kind", "TokenRateLimitPolicy", path, errors);
    let metadata = fields.require("metadata", path, errors, resource::metadata);
    let spec = fields.require("spec", path, errors, spec);
    let Spec {
        target,
        precedence,
        strategy,
        rules,
        section,
    } = spec?;
    let Metadata { name, created } = metadata?;
    Ok(Policy {
        name,
        target,
        precedence,
        strategy,
        when: rules.when,
        limits: rules.limits,
        total_tokens: rules.total_tokens,
        created,
        path: path.to_string(),
        section,
    })
}

fn spec(json: &Json, path: &Path<'_>, errors: &mut ValidationErrors) -> Result<Spec, Invalid> {
    let fields = Fields::read(json, path, &SPEC, errors)?;
    let target = fields.require("targetRef", path, errors, target);
    for (name, other) in [
        ("limits", "defaults"),
        ("dataExtraction", "defaults"),
        ("limits", "overrides"),
        ("dataExtraction", "overrides"),
        ("defaults", "overrides"),
    ] {
        if fields.get(name).is_some() && fields.get(other).is_some() {
            errors.push(&path.field(name), ErrorKind::Conflict(other));
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
        let rules = rules(fields, path, errors);
        return Ok(Spec {
            target: target?,
            precedence: Precedence::default(),
            strategy: Strategy::default(),
            rules: rules?,
            section: None,
        });
    };
    if let Some(json) = fields.get("when") {
        // Kuadrant accepts it, and reads the one beside the limits.
        let path = path.field("when");
        let _ = limit::when(json, &path, errors);
        errors.warn(&path, WarningKind::Beside(name));
    }
    let path = path.field(name);
    let fields = Fields::read(json, &path, &RULES, errors)?;
    let strategy = fields.read_or("strategy", &path, errors, Strategy::default, strategy);
    let rules = rules(fields, &path, errors);
    Ok(Spec {
        target: target?,
        precedence,
        strategy: strategy?,
        rules: rules?,
        section: Some(name),
    })
}

fn strategy(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Strategy, Invalid> {
    let strategies = [("atomic", Strategy::Atomic), ("merge", Strategy::Merge)];
    reader::choice(json, &strategies, path, errors)
}

fn target(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<TargetRef, Invalid> {
    let fields = Fields::read(json, path, &TARGET, errors)?;
    resource::check_constant(fields, "group", "gateway.networking.k8s.io", path, errors);
    let kind = fields.require("kind", path, errors, |json, path, errors| {
        let kinds = [("Gateway", "Gateway"), ("HTTPRoute", "HTTPRoute")];
        reader::choice(json, &kinds, path, errors)
    });
    let name = fields.require("name", path, errors, resource::resource_name);
    let section_name = fields.read_optional("sectionName", path, errors, resource::resource_name);
    Ok(TargetRef {
        kind: kind?.to_owned(),
        name: name?,
        section_name: section_name?,
    })
}

fn rules(
    fields: Fields<'_>,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Rules, Invalid> {
    let when = fields.read_or("when", path, errors, Vec::new, limit::when);
    let total_tokens = fields.read_or("dataExtraction", path, errors, Vec::new, data_extraction);
    let limits = fields.require("limits", path, errors, limit::read);
    Ok(Rules {
        when: when?,
        limits: limits?,
        total_tokens: total_tokens?,
    })
}

/// Reads `dataExtraction`: the pointers to the total of tokens in a response.
fn data_extraction(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Vec<UsagePointer>, Invalid> {
    let fields = Fields::read(json, path, &DATA_EXTRACTION, errors)?;
    fields.read_or("response", path, errors, Vec::new, |json, path, errors| {
        response(json, path, errors)
    })
}

/// Reads `response`, a map of names to JSON pointers, and returns those to the total of tokens.
fn response(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Vec<UsagePointer>, Invalid> {
    let entries = reader::entries(json, path, errors)?;
    let max = bounds::EXTRACTED_NUMBERS;
    reader::at_most(entries.len(), "names", max, path, errors)?;
    let given = entries
        .iter()
        .filter(|(_, json)| !matches!(json, Json::Null));
    let mut total_tokens = Ok(Vec::new());
    for (name, json) in given {
        let path = path.field(name);
        let pointers = values::pointers(json, &bounds::TOTAL_TOKENS, &path, errors);
        if name == TOTAL_TOKENS {
            total_tokens = pointers;
        } else {
            let instead = suggestion::did_you_mean(name, [TOTAL_TOKENS]);
            errors.warn(&path, WarningKind::NotExtracted(instead));
        }
    }
    total_tokens
}
