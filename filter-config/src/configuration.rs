//! The configuration as a whole. The short form is one policy; the long form has `policies` and settings beside them.

use std::borrow::Cow;
use std::collections::BTreeSet;

use usage_meter::UsagePointer;

use crate::access::{self, AccessRule};
use crate::access_log::{self, AccessLog};
use crate::auth::{self, AuthSource};
use crate::bounds;
use crate::effective::{Effective, EffectivePolicy};
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::export::{self, Export};
use crate::expression::{Attribute, Expression, FuelLimits, UsageField};
use crate::fields::{Fields, Schema};
use crate::hard_limits;
use crate::json::Json;
use crate::memory::{self, Memory};
use crate::path::Path;
use crate::policy::{self, Policy};
use crate::pricing::{self, Pricing};
use crate::reader::{self, unexpected};
use crate::replies::{self, Replies};
use crate::request_body::{self, RequestBody};
use crate::resources::{self, Resources};
use crate::route::UnknownRoute;
use crate::routing::Routing;
use crate::storage::{self, Storage};
use crate::usage::{self, MeteredExchanges, UsageSettings};
use crate::usage_endpoint::{self, UsageEndpoint};
use crate::values;
use crate::warning::Warning;

/// A plugin configuration, every value of it within its bounds.
#[derive(Debug)]
pub struct Configuration {
    /// The policies, at least one, with distinct names. [`Configuration::effective`] finds those of a request.
    pub policies: Vec<Policy>,
    effective: Effective,
    routing: Option<Routing>,
    /// The storage of the counters.
    pub storage: Storage,
    /// The decision on requests whose policy cannot be evaluated.
    pub failure_mode: FailureMode,
    /// The sources of `auth`, at least one. The first that has a value is used.
    pub auth: Vec<AuthSource>,
    /// The models that requests may name. All rules that apply have to allow a request.
    pub access: Vec<AccessRule>,
    /// The inspection of request bodies.
    pub request_body: RequestBody,
    /// The memory of a worker.
    pub memory: Memory,
    /// The fuel of each evaluation of an expression, within [`bounds::EXPRESSION_STEPS`] and
    /// [`bounds::EXPRESSION_PRODUCED_BYTES`].
    pub expressions: FuelLimits,
    /// Whether request headers are held until the body is read, if a policy needs it. This requires
    /// `allow_on_headers_stop_iteration` in Envoy's configuration of the plugin.
    pub hold_headers: bool,
    /// How usage is found and charged.
    pub usage: UsageSettings,
    /// The form of rejections, and quota headers.
    pub replies: Replies,
    /// The form in which access logs have an exchange.
    pub access_log: AccessLog,
    /// The endpoint that reports to callers what they have used.
    pub usage_endpoint: Option<UsageEndpoint>,
    /// The prices of models; always given if a budget or a cost needs them.
    pub pricing: Option<Pricing>,
    /// The costs that are reported.
    pub exports: Vec<Export>,
    /// The position in `exports` of the cost that Envoy's rate limit filter adds for an exchange.
    pub hits_addend: Option<usize>,
    /// The parts that have no effect, in the order of the document; at most [`bounds::VALIDATION_ERRORS`].
    pub warnings: Vec<Warning>,
}

/// The decision on requests whose policy cannot be evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailureMode {
    /// They are rejected, with status 500.
    #[default]
    Deny,
    /// They are admitted.
    Allow,
}

pub(crate) const LONG_FORM: Schema = Schema {
    known: &[
        "policies",
        "routes",
        "storage",
        "failureMode",
        "auth",
        "access",
        "holdHeaders",
        "requestBody",
        "memory",
        "expressions",
        "usage",
        "replies",
        "accessLog",
        "usageEndpoint",
        "admin",
        "track",
        "pricing",
        "unpriced",
        "export",
        "hitsAddend",
    ],
    ignored: &[],
};

pub(crate) const EXPRESSIONS: Schema = Schema {
    known: &["steps", "bytes"],
    ignored: &[],
};

// === impl Configuration ===

impl Configuration {
    /// Returns whether exchanges are metered that no limit applies to.
    #[must_use]
    pub fn meters_all(&self) -> bool {
        !self.exports.is_empty() || self.usage.meter == MeteredExchanges::All
    }

    /// Returns the lists of effective policies that requests have. Without `routes` it is one, with every policy.
    #[must_use]
    pub fn effective_lists(&self) -> &[Vec<EffectivePolicy>] {
        &self.effective.lists
    }

    /// Returns the position of the list of a request in [`Self::effective_lists`], found by its headers and pseudo-headers.
    ///
    /// # Errors
    ///
    /// [`UnknownRoute`] if a path, header or parameter is too long for the regular expressions of routes.
    pub fn effective_position<'h>(
        &self,
        header: impl Fn(&str) -> Option<Cow<'h, str>>,
    ) -> Result<usize, UnknownRoute> {
        let rule = self.routing.as_ref().map(|routing| routing.rule(header));
        Ok(self.effective.position(rule.transpose()?.flatten()))
    }

    /// Returns the effective policies of a request.
    ///
    /// # Errors
    ///
    /// As [`Configuration::effective_position`].
    pub fn effective<'h>(
        &self,
        header: impl Fn(&str) -> Option<Cow<'h, str>>,
    ) -> Result<&[EffectivePolicy], UnknownRoute> {
        let list = self.effective.lists.get(self.effective_position(header)?);
        Ok(list.map(Vec::as_slice).unwrap_or_default())
    }

    /// Returns whether every policy applies to every request.
    #[cfg(feature = "yaml")]
    pub(crate) const fn applies_everywhere(&self) -> bool {
        self.routing.is_none()
    }
}

/// Reads either form of the configuration.
pub(crate) fn read(json: &Json, errors: &mut ValidationErrors) -> Result<Configuration, Invalid> {
    let Json::Object(entries) = json else {
        let expected = "a TokenRateLimitPolicy or an object with \"policies\"";
        return Err(unexpected(json, expected, &Path::Root, errors));
    };
    let has = |field: &str| entries.iter().any(|(name, _)| name == field);
    if has("kind") || has("apiVersion") || has("spec") {
        if resources::is_list(json) {
            let resources = Resources::read_list(json, &Path::Root, errors)?;
            return of_resources(resources, errors);
        }
        let json = &short_form(entries, errors);
        let (policies, routes) = (vec![policy::read(json, &Path::Root, errors)?], None);
        return of_resources(Resources { policies, routes }, errors);
    }
    long_form(json, &Path::Root, errors)
}

/// Reads a configuration in one document, or policies and their routes in several.
#[cfg(feature = "yaml")]
pub(crate) fn read_documents(
    documents: &[Json],
    errors: &mut ValidationErrors,
) -> Result<Configuration, Invalid> {
    if let [document] = documents {
        return read(document, errors);
    }
    let resources = Resources::read_documents(documents, errors)?;
    of_resources(resources, errors)
}

/// Returns the configuration of policies and routes, with the defaults of everything else.
fn of_resources(
    mut resources: Resources,
    errors: &mut ValidationErrors,
) -> Result<Configuration, Invalid> {
    if !errors.is_empty() {
        return Err(Invalid);
    }
    resources.leave_out_newer(errors);
    let Resources { policies, routes } = resources;
    check_pointers(&policies, &UsageSettings::default(), &Path::Root, errors);
    check_pricing(&policies, &[], errors);
    check_held_headers(&policies, errors);
    hard_limits::check(&policies, &Storage::default(), false, errors);
    Ok(Configuration {
        effective: match &routes {
            Some(routes) => Effective::resolve(&policies, routes, errors)?,
            None => Effective::all(&policies),
        },
        routing: routes.map(Routing::new),
        policies,
        storage: Storage::default(),
        failure_mode: FailureMode::default(),
        auth: auth::defaults(),
        access: Vec::new(),
        request_body: RequestBody::default(),
        memory: Memory::default(),
        expressions: FuelLimits::default(),
        hold_headers: false,
        usage: UsageSettings::default(),
        replies: Replies::default(),
        access_log: AccessLog::default(),
        usage_endpoint: None,
        pricing: None,
        exports: Vec::new(),
        hits_addend: None,
        warnings: Vec::new(),
    })
}

/// Returns a policy without the fields of the long form, each of which is an error.
fn short_form(entries: &[(String, Json)], errors: &mut ValidationErrors) -> Json {
    let of_long_form = |name: &String| LONG_FORM.known.contains(&name.as_str());
    for (name, _) in entries.iter().filter(|(name, _)| of_long_form(name)) {
        errors.push(&Path::Root.field(name), ErrorKind::LongFormField);
    }
    let of_policy = entries.iter().filter(|(name, _)| !of_long_form(name));
    Json::Object(of_policy.cloned().collect())
}

fn long_form(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Configuration, Invalid> {
    let fields = Fields::read(json, path, &LONG_FORM, errors)?;
    let policies = fields.require("policies", path, errors, Resources::read_policies);
    let routes = fields.read_optional("routes", path, errors, Resources::read_routes);
    let are_valid = errors.is_empty();
    let resources = match (policies, routes) {
        (Ok(policies), Ok(routes)) => Ok(Resources { policies, routes }),
        _ => Err(Invalid),
    };
    let resources = resources.map(|mut resources| {
        if are_valid {
            resources.leave_out_newer(errors);
        }
        resources
    });
    let policies = resources.as_ref().map(|resources| &resources.policies);
    let storage = fields.read_or("storage", path, errors, Storage::default, storage::read);
    let failure_mode = fields.read_or(
        "failureMode",
        path,
        errors,
        FailureMode::default,
        failure_mode,
    );
    let auth = fields.read_or("auth", path, errors, auth::defaults, auth::read);
    let access = fields.read_or("access", path, errors, Vec::new, access::read);
    let hold_headers = fields.read_or("holdHeaders", path, errors, || false, reader::boolean);
    let memory = fields.read_or("memory", path, errors, Memory::default, memory::read);
    // A wrong `memory` has an error of its own.
    let of_worker = *memory.as_ref().unwrap_or(&Memory::default());
    let request_body = request_body::of_long_form(fields, of_worker, path, errors);
    let expressions = fields.read_or(
        "expressions",
        path,
        errors,
        FuelLimits::default,
        expressions,
    );
    let usage = fields.read_or("usage", path, errors, UsageSettings::default, usage::read);
    let replies = fields.read_or("replies", path, errors, Replies::default, replies::read);
    let access_log = fields.read_or(
        "accessLog",
        path,
        errors,
        AccessLog::default,
        access_log::read,
    );
    let usage_endpoint = usage_endpoint::read(fields, path, errors);
    let pricing = pricing(fields, path, errors);
    let exports = fields.read_or("export", path, errors, Vec::new, export::read);
    let hits_addend = fields.read_optional("hitsAddend", path, errors, |json, path, errors| {
        let exports = exports.as_deref().map_err(|invalid| *invalid)?;
        export::hits_addend(json, exports, path, errors)
    });
    if let (Ok(policies), Ok(usage)) = (policies, &usage) {
        check_pointers(policies, usage, path, errors);
    }
    if let (Ok(policies), Ok(false)) = (policies, hold_headers) {
        check_held_headers(policies, errors);
    }
    if let (Ok(policies), Ok(storage), Ok(holds)) = (policies, &storage, hold_headers) {
        hard_limits::check(policies, storage, holds, errors);
    }
    if let (Ok(policies), Ok(None)) = (policies, &pricing) {
        check_pricing(policies, exports.as_deref().unwrap_or_default(), errors);
    }
    let (Resources { policies, routes }, storage) = (resources?, storage?);
    if errors.is_empty() {
        storage::check(&storage, &policies, errors);
    }
    let effective = match &routes {
        Some(routes) if are_valid => Effective::resolve(&policies, routes, errors)?,
        _ => Effective::all(&policies),
    };
    Ok(Configuration {
        policies,
        effective,
        routing: routes.map(Routing::new),
        storage,
        failure_mode: failure_mode?,
        auth: auth?,
        access: access?,
        request_body: request_body?,
        memory: memory?,
        expressions: expressions?,
        hold_headers: hold_headers?,
        usage: usage?,
        replies: replies?,
        access_log: access_log?,
        usage_endpoint: usage_endpoint?,
        pricing: pricing?,
        exports: exports?,
        hits_addend: hits_addend?,
        warnings: Vec::new(),
    })
}

/// Reads `unpriced` and `pricing`.
fn pricing(
    fields: Fields<'_>,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Option<Pricing>, Invalid> {
    let unpriced = fields.read_optional("unpriced", path, errors, pricing::unpriced);
    if let Ok(Some(_)) = unpriced
        && fields.get("pricing").is_none()
    {
        return Err(errors.push(&path.field("pricing"), ErrorKind::MissingField));
    }
    fields.read_optional("pricing", path, errors, |json, path, errors| {
        pricing::read(json, unpriced?, path, errors)
    })
}

/// Checks that the policies and `usage.paths` do not have too many JSON pointers together.
fn check_pointers(
    policies: &[Policy],
    usage: &UsageSettings,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) {
    const UNIT: &str = "distinct JSON pointers in \"policies\" and \"usage.paths\"";
    let at_usage = path.field("usage");
    let of_policies = policies
        .iter()
        .map(|policy| (Path::At(&policy.path), policy.total_tokens.iter().collect()));
    let of_usage: Vec<&UsagePointer> = usage.paths.iter().map(|(_, pointer)| pointer).collect();
    let mut distinct = BTreeSet::new();
    for (path, pointers) in of_policies.chain([(at_usage.field("paths"), of_usage)]) {
        distinct.extend(pointers.into_iter().flat_map(UsagePointer::terms));
        if reader::at_most(distinct.len(), UNIT, bounds::POINTERS, &path, errors).is_err() {
            break;
        }
    }
}

/// Checks that nothing needs prices, for a configuration without `pricing`.
fn check_pricing(policies: &[Policy], exports: &[Export], errors: &mut ValidationErrors) {
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
        errors.push(&Path::Root.field("pricing"), ErrorKind::NeedsPricing(what));
    }
}

/// Checks that no limit has alternatives, for a configuration that does not hold request headers.
fn check_held_headers(policies: &[Policy], errors: &mut ValidationErrors) {
    let mut limits = policies
        .iter()
        .flat_map(|policy| policy.limits.iter().map(move |limit| (policy, limit)));
    let changes = limits.find(|(_, limit)| !limit.alternatives().is_empty());
    if let Some((policy, limit)) = changes {
        let what = format!("the limit {:?} of {:?}", limit.name, policy.name);
        let path = Path::Root.field("holdHeaders");
        errors.push(&path, ErrorKind::NeedsHeldHeaders(what));
    }
}

fn failure_mode(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<FailureMode, Invalid> {
    let choices = [("deny", FailureMode::Deny), ("allow", FailureMode::Allow)];
    reader::choice(json, &choices, path, errors)
}

fn expressions(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<FuelLimits, Invalid> {
    let fields = Fields::read(json, path, &EXPRESSIONS, errors)?;
    let default = || usize::try_from(FuelLimits::default().steps).unwrap_or(usize::MAX);
    let steps = fields.read_or("steps", path, errors, default, |json, path, errors| {
        reader::count(json, &bounds::EXPRESSION_STEPS, path, errors)
    });
    let default = || usize::try_from(FuelLimits::default().bytes).unwrap_or(usize::MAX);
    let bytes = fields.read_or("bytes", path, errors, default, |json, path, errors| {
        values::size(json, &bounds::EXPRESSION_PRODUCED_BYTES, path, errors)
    });
    Ok(FuelLimits {
        steps: steps? as u64,
        bytes: bytes? as u64,
    })
}
