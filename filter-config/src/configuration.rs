//! The configuration as a whole: the short form, a policy alone, and the long form.

use crate::auth::{self, AuthSource};
use crate::bounds;
use crate::fault::{FaultKind, Faults};
use crate::fields::{self, Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::policy::{self, Policy};
use crate::replies::{self, Replies};
use crate::storage::{self, Storage};
use crate::usage::{self, UsageSettings};

/// A plugin configuration, every value of it within its bounds.
#[derive(Debug)]
pub struct Configuration {
    /// The policies, at least one; all of them are enforced, and no two have the same name.
    pub policies: Vec<Policy>,
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
        "storage",
        "failureMode",
        "auth",
        "holdHeaders",
        "requestBody",
        "usage",
        "replies",
    ],
    ignored: &[],
    planned: &["pricing"],
};

pub(crate) const REQUEST_BODY: Schema = Schema {
    known: &["maxBytes"],
    ignored: &[],
    planned: &[],
};

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
        let policy = policy::read(json, &Path::Root, faults)?;
        return Some(Configuration {
            policies: vec![policy],
            storage: Storage::default(),
            failure_mode: FailureMode::default(),
            auth: auth::defaults(),
            request_body: RequestBody::default(),
            hold_headers: false,
            usage: UsageSettings::default(),
            replies: Replies::default(),
        });
    }
    long_form(json, &Path::Root, faults)
}

fn long_form(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Configuration> {
    let fields = Fields::read(json, path, &LONG_FORM, faults)?;
    let policies = fields
        .require("policies", path, faults)
        .and_then(|json| policies(json, &path.field("policies"), faults));
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
    let (policies, storage) = (policies?, storage?);
    if faults.is_empty() {
        storage::check(&storage, &policies, json, path, faults);
    }
    Some(Configuration {
        policies,
        storage,
        failure_mode: failure_mode?,
        auth: auth?,
        request_body: request_body?,
        hold_headers: hold_headers?,
        usage: usage?,
        replies: replies?,
    })
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
    fields::choice(json, &choices, &[], path, faults)
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
