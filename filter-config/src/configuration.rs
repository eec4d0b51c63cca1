//! The configuration as a whole: the short form, a policy alone, and the long form.

use std::borrow::Cow;

use crate::auth::{self, AuthSource};
use crate::bounds;
use crate::effective::{Effective, EffectivePolicy};
use crate::export::{self, Export};
use crate::expression::{Attribute, Expression, UsageField};
use crate::fault::{FaultKind, Faults};
use crate::fields::{self, Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::policy::{self, Policy};
use crate::pricing::{self, Pricing};
use crate::replies::{self, Replies};
use crate::route;
use crate::routing::Routing;
use crate::storage::{self, Storage};
use crate::usage::{self, UsageSettings};

/// A plugin configuration, every value of it within its bounds.
#[derive(Debug)]
pub struct Configuration {
    /// The policies, at least one, and no two with the same name. Which of them are enforced on a
    /// request, [`Configuration::effective`] says.
    pub policies: Vec<Policy>,
    effective: Effective,
    routing: Option<Routing>,
    /// Where the counters are.
    pub storage: Storage,
    /// What an exchange meets whose policy cannot be evaluated.
    pub failure_mode: FailureMode,
    /// Where `auth` comes from: the first source that has a value wins. Never empty.
    pub auth: Vec<AuthSource>,
    /// How much of a request body is inspected.
    pub request_body: RequestBody,
    /// Whether request headers wait for the body where a policy needs it. Takes Envoy's plugin
    /// option `allow_on_headers_stop_iteration`.
    pub hold_headers: bool,
    /// What is charged.
    pub usage: UsageSettings,
    /// How refusals look.
    pub replies: Replies,
    /// What models cost; there wherever a budget or a cost needs it.
    pub pricing: Option<Pricing>,
    /// The costs that are told of.
    pub exports: Vec<Export>,
    /// The position in `exports` of what Envoy's rate limit filter is to add for an exchange.
    pub hits_addend: Option<usize>,
}

/// What an exchange meets whose policy cannot be evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailureMode {
    /// It is refused, with status 500.
    #[default]
    Deny,
    /// It is let go.
    Allow,
}

/// How request bodies are inspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestBody {
    /// Bytes of a request body that are held for inspection, within [`bounds::REQUEST_BODY_BYTES`].
    pub max_bytes: usize,
}

pub(crate) const LONG_FORM: Schema = Schema {
    known: &[
        "policies",
        "routes",
        "storage",
        "failureMode",
        "auth",
        "holdHeaders",
        "requestBody",
        "usage",
        "replies",
        "pricing",
        "unpriced",
        "export",
        "hitsAddend",
    ],
    ignored: &[],
};

pub(crate) const REQUEST_BODY: Schema = Schema {
    known: &["maxBytes"],
    ignored: &[],
};

// === impl Configuration ===

impl Configuration {
    /// The limits that are enforced on a request, by its headers and pseudo-headers: those that
    /// prevail of all policies that concern it. Without routes, every policy concerns every request.
    pub fn effective<'h>(
        &self,
        header: impl Fn(&str) -> Option<Cow<'h, str>>,
    ) -> &[EffectivePolicy] {
        let rule = self
            .routing
            .as_ref()
            .and_then(|routing| routing.rule(header));
        rule.and_then(|rule| self.effective.rules.get(rule))
            .unwrap_or(&self.effective.otherwise)
    }
}

// === impl RequestBody ===

impl Default for RequestBody {
    fn default() -> Self {
        RequestBody { max_bytes: 262_144 }
    }
}

/// Reads either form of the configuration.
pub(crate) fn read(json: &Json, faults: &mut Faults) -> Option<Configuration> {
    let Json::Object(entries) = json else {
        let wanted = "a TokenRateLimitPolicy or an object with \"policies\"";
        fields::expected(json, wanted, &Path::Root, faults);
        return None;
    };
    let has = |field: &str| entries.iter().any(|(name, _)| name == field);
    if has("kind") || has("apiVersion") || has("spec") {
        let json = &alone(entries, faults);
        let policies = vec![policy::read(json, &Path::Root, faults)?];
        needs_pricing(&policies, &[], faults);
        needs_held_headers(&policies, faults);
        return Some(Configuration {
            effective: Effective::all(&policies),
            routing: None,
            policies,
            storage: Storage::default(),
            failure_mode: FailureMode::default(),
            auth: auth::defaults(),
            request_body: RequestBody::default(),
            hold_headers: false,
            usage: UsageSettings::default(),
            replies: Replies::default(),
            pricing: None,
            exports: Vec::new(),
            hits_addend: None,
        });
    }
    long_form(json, &Path::Root, faults)
}

/// A policy by itself, without the fields of the long form; each of those is a fault.
fn alone(entries: &[(String, Json)], faults: &mut Faults) -> Json {
    let of_long_form = |name: &String| LONG_FORM.known.contains(&name.as_str());
    for (name, _) in entries.iter().filter(|(name, _)| of_long_form(name)) {
        faults.push(&Path::Root.field(name), FaultKind::OfLongForm);
    }
    let of_policy = entries.iter().filter(|(name, _)| !of_long_form(name));
    Json::Object(of_policy.cloned().collect())
}

fn long_form(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Configuration> {
    let fields = Fields::read(json, path, &LONG_FORM, faults)?;
    let policies = fields
        .require("policies", path, faults)
        .and_then(|json| policies(json, &path.field("policies"), faults));
    let routes = fields.read_optional("routes", path, faults, route::read);
    let are_sound = faults.is_empty();
    let storage = fields.read_or("storage", path, faults, Storage::default, storage::read);
    let failure_mode = fields.read_or(
        "failureMode",
        path,
        faults,
        FailureMode::default,
        failure_mode,
    );
    let auth = fields.read_or("auth", path, faults, auth::defaults, auth::read);
    let hold_headers = fields.read_or("holdHeaders", path, faults, || false, fields::boolean);
    let request_body = fields.read_or(
        "requestBody",
        path,
        faults,
        RequestBody::default,
        request_body,
    );
    let usage = fields.read_or("usage", path, faults, UsageSettings::default, usage::read);
    let replies = fields.read_or("replies", path, faults, Replies::default, replies::read);
    let pricing = pricing(fields, path, faults);
    let exports = fields.read_or("export", path, faults, Vec::new, export::read);
    let hits_addend = fields.read_optional("hitsAddend", path, faults, |json, path, faults| {
        export::named(json, exports.as_deref()?, path, faults)
    });
    if let (Some(policies), Some(false)) = (&policies, hold_headers) {
        needs_held_headers(policies, faults);
    }
    if let (Some(policies), Some(None)) = (&policies, &pricing) {
        needs_pricing(policies, exports.as_deref().unwrap_or_default(), faults);
    }
    let (policies, routes, storage) = (policies?, routes?, storage?);
    if faults.is_empty() {
        storage::check(&storage, &policies, json, path, faults);
    }
    let effective = match &routes {
        Some(routes) if are_sound => {
            Effective::resolve(&policies, routes, &path.field("policies"), faults)?
        }
        _ => Effective::all(&policies),
    };
    Some(Configuration {
        policies,
        effective,
        routing: routes.map(Routing::new),
        storage,
        failure_mode: failure_mode?,
        auth: auth?,
        request_body: request_body?,
        hold_headers: hold_headers?,
        usage: usage?,
        replies: replies?,
        pricing: pricing?,
        exports: exports?,
        hits_addend: hits_addend?,
    })
}

/// Reads the prices of models, and what becomes of a model without one.
#[allow(clippy::option_option)]
fn pricing(fields: Fields<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Option<Pricing>> {
    let unpriced = fields.read_optional("unpriced", path, faults, pricing::unpriced);
    if unpriced.is_some_and(|unpriced| unpriced.is_some()) {
        fields.require("pricing", path, faults)?;
    }
    fields.read_optional("pricing", path, faults, |json, path, faults| {
        pricing::read(json, unpriced?, path, faults)
    })
}

/// Adds a fault if something is priced, for a configuration without prices.
fn needs_pricing(policies: &[Policy], exports: &[Export], faults: &mut Faults) {
    let is_priced = |cost: &Expression| cost.uses().contains(&Attribute::Usage(UsageField::Usd));
    let of_limits = policies.iter().flat_map(|policy| {
        policy.limits.iter().filter_map(move |limit| {
            let is_priced = !limit.budgets.is_empty() || limit.cost.as_ref().is_some_and(is_priced);
            is_priced.then(|| format!("the limit {:?} of {:?}", limit.name, policy.name))
        })
    });
    let of_exports = exports
        .iter()
        .filter(|export| is_priced(&export.cost))
        .map(|export| format!("the cost {:?}", export.name));
    if let Some(what) = of_limits.chain(of_exports).next() {
        faults.push(&Path::Root.field("pricing"), FaultKind::NeedsPricing(what));
    }
}

/// Adds a fault if a limit changes requests, for a configuration that does not hold their headers.
fn needs_held_headers(policies: &[Policy], faults: &mut Faults) {
    let mut limits = policies
        .iter()
        .flat_map(|policy| policy.limits.iter().map(move |limit| (policy, limit)));
    let changes = limits.find(|(_, limit)| !limit.alternatives().is_empty());
    if let Some((policy, limit)) = changes {
        let what = format!("the limit {:?} of {:?}", limit.name, policy.name);
        let path = Path::Root.field("holdHeaders");
        faults.push(&path, FaultKind::NeedsHeldHeaders(what));
    }
}

fn policies(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Vec<Policy>> {
    let items = fields::list(json, "policies", bounds::POLICIES, path, faults)?;
    if items.is_empty() {
        faults.push(path, FaultKind::MustNotBeEmpty);
    }
    let mut policies: Vec<(usize, Policy)> = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let item_path = path.item(position);
        let Some(policy) = policy::read(item, &item_path, faults) else {
            continue;
        };
        if let Some((first, _)) = policies.iter().find(|(_, known)| known.name == policy.name) {
            let kind = FaultKind::Repeated {
                value: format!("the policy {:?}", policy.name),
                first: path.item(*first).to_string(),
            };
            faults.push(&item_path, kind);
        }
        policies.push((position, policy));
    }
    Some(policies.into_iter().map(|(_, policy)| policy).collect())
}

fn failure_mode(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<FailureMode> {
    let choices = [("deny", FailureMode::Deny), ("allow", FailureMode::Allow)];
    fields::choice(json, &choices, path, faults)
}

fn request_body(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<RequestBody> {
    let fields = Fields::read(json, path, &REQUEST_BODY, faults)?;
    let Some(json) = fields.get("maxBytes") else {
        return Some(RequestBody::default());
    };
    let path = path.field("maxBytes");
    let max_bytes = fields::whole(json, &bounds::REQUEST_BODY_BYTES, &path, faults)?;
    let max_bytes = usize::try_from(max_bytes).ok()?;
    Some(RequestBody { max_bytes })
}
