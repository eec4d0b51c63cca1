//! Where the counters are: in Envoy's shared data, or in a rate limit service.

use std::str::FromStr as _;

use crate::bounds;
use crate::fault::{FaultKind, Faults};
use crate::fields::{self, Fields, Schema};
use crate::json::Json;
use crate::limit::Limit;
use crate::path::Path;
use crate::policy::Policy;
use crate::rate::{Algorithm, RateLimit, RateWindow};
use crate::window::{Window, WindowError};

/// Where the counters are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In Envoy's own shared data.
    Local {
        /// How many counters there is room for, within [`bounds::MAX_COUNTERS`].
        max_counters: u32,
    },
    /// In a service that is asked over gRPC.
    Remote(Remote),
}

/// A rate limit service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The Envoy cluster that the service is behind, at most [`bounds::CLUSTER_BYTES`].
    pub cluster: String,
    /// What is spoken with it.
    pub protocol: Protocol,
    /// The domain of all policies; where there is none, each has its own:
    /// [`Policy::domain`](crate::Policy::domain).
    pub domain: Option<String>,
    /// Milliseconds until a call has failed, within [`bounds::STORAGE_TIMEOUT_MS`].
    pub timeout_ms: u32,
    /// How requests are decided on while the service does not answer.
    pub failure_mode: RemoteFailureMode,
    /// For how many milliseconds settlements are kept back to be sent together, within
    /// [`bounds::STORAGE_FLUSH_MS`]; 0 sends each at once.
    pub flush_ms: u32,
    /// How many counters there is room for in shared data, where this Envoy keeps its own count.
    pub max_counters: u32,
}

/// What is spoken with a rate limit service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// limitador's `Reserve` and `Commit`.
    #[default]
    Reserve,
    /// limitador's `CheckRateLimit` and `Report`.
    CheckReport,
    /// Envoy's `ShouldRateLimit`, to check and to add.
    EnvoyRls,
}

/// How requests are decided on while a rate limit service does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RemoteFailureMode {
    /// By what this Envoy counts itself.
    #[default]
    Local,
    /// They are let go.
    Allow,
    /// They are refused, with status 500.
    Deny,
}

pub(crate) const LOCAL: Schema = Schema {
    known: &["type", "maxCounters"],
    ignored: &[],
};

pub(crate) const LIMITADOR: Schema = Schema {
    known: &[
        "type",
        "cluster",
        "protocol",
        "domain",
        "timeout",
        "failureMode",
        "flush",
        "maxCounters",
    ],
    ignored: &[],
};

pub(crate) const ENVOY_RLS: Schema = Schema {
    known: &[
        "type",
        "cluster",
        "domain",
        "timeout",
        "failureMode",
        "flush",
        "maxCounters",
    ],
    ignored: &[],
};

const DEFAULT_MAX_COUNTERS: u32 = 65_536;

const DEFAULT_TIMEOUT_MS: u32 = 100;

/// The types of storage.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Local,
    Limitador,
    EnvoyRls,
}

// === impl Storage ===

impl Default for Storage {
    fn default() -> Self {
        Storage::Local {
            max_counters: DEFAULT_MAX_COUNTERS,
        }
    }
}

/// Reads `storage`.
pub(crate) fn read(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Storage> {
    // The type first: with a wrong one the other fields would only add noise.
    let kind = match json.field("type") {
        None => Kind::Local,
        Some(json) => {
            let kinds = [
                ("local", Kind::Local),
                ("limitador", Kind::Limitador),
                ("envoy-rls", Kind::EnvoyRls),
            ];
            fields::choice(json, &kinds, &path.field("type"), faults)?
        }
    };
    let schema = match kind {
        Kind::Local => &LOCAL,
        Kind::Limitador => &LIMITADOR,
        Kind::EnvoyRls => &ENVOY_RLS,
    };
    let fields = Fields::read(json, path, schema, faults)?;
    let max_counters = fields
        .read_or(
            "maxCounters",
            path,
            faults,
            || u64::from(DEFAULT_MAX_COUNTERS),
            |json, path, faults| fields::whole(json, &bounds::MAX_COUNTERS, path, faults),
        )
        .and_then(|counters| u32::try_from(counters).ok());
    if kind == Kind::Local {
        return Some(Storage::Local {
            max_counters: max_counters?,
        });
    }
    remote(fields, kind, max_counters, path, faults).map(Storage::Remote)
}

fn remote(
    fields: Fields<'_>,
    kind: Kind,
    max_counters: Option<u32>,
    path: &Path<'_>,
    faults: &mut Faults,
) -> Option<Remote> {
    let cluster = fields
        .require("cluster", path, faults)
        .and_then(|json| fields::name(json, bounds::CLUSTER_BYTES, &path.field("cluster"), faults));
    let protocol = match kind {
        Kind::EnvoyRls => Some(Protocol::EnvoyRls),
        _ => fields.read_or("protocol", path, faults, Protocol::default, protocol),
    };
    let domain_name = match kind {
        // Its limits are grouped by the domain, which somebody has named there.
        Kind::EnvoyRls => fields
            .require("domain", path, faults)
            .and_then(|json| domain(json, &path.field("domain"), faults).map(Some)),
        _ => fields.read_optional("domain", path, faults, domain),
    };
    let timeout = fields.read_or(
        "timeout",
        path,
        faults,
        || DEFAULT_TIMEOUT_MS,
        |json, path, faults| milliseconds(json, &bounds::STORAGE_TIMEOUT_MS, path, faults),
    );
    let failure_mode = fields.read_or(
        "failureMode",
        path,
        faults,
        RemoteFailureMode::default,
        failure_mode,
    );
    let flush = fields.read_or(
        "flush",
        path,
        faults,
        || 0,
        |json, path, faults| milliseconds(json, &bounds::STORAGE_FLUSH_MS, path, faults),
    );
    Some(Remote {
        cluster: cluster?,
        protocol: protocol?,
        domain: domain_name?,
        timeout_ms: timeout?,
        failure_mode: failure_mode?,
        flush_ms: flush?,
        max_counters: max_counters?,
    })
}

fn domain(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<String> {
    fields::name(json, bounds::DOMAIN_BYTES, path, faults)
}

fn protocol(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Protocol> {
    let choices = [
        ("reserve", Protocol::Reserve),
        ("check-report", Protocol::CheckReport),
    ];
    fields::choice(json, &choices, path, faults)
}

fn failure_mode(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<RemoteFailureMode> {
    let choices = [
        ("local", RemoteFailureMode::Local),
        ("allow", RemoteFailureMode::Allow),
        ("deny", RemoteFailureMode::Deny),
    ];
    fields::choice(json, &choices, path, faults)
}

/// A duration of whole milliseconds within a range.
fn milliseconds(
    json: &Json,
    range: &std::ops::RangeInclusive<u32>,
    path: &Path<'_>,
    faults: &mut Faults,
) -> Option<u32> {
    const MILLISECOND: u64 = 1_000_000;
    let nanos = match json {
        Json::String(text) => match Window::from_str(text) {
            Ok(duration) => Some(duration.as_nanos()),
            Err(WindowError::Zero) => Some(0),
            Err(_) => None,
        },
        _ => None,
    };
    let whole = nanos.filter(|nanos| nanos.is_multiple_of(MILLISECOND));
    let milliseconds = whole.and_then(|nanos| u32::try_from(nanos / MILLISECOND).ok());
    if let Some(milliseconds) = milliseconds.filter(|milliseconds| range.contains(milliseconds)) {
        return Some(milliseconds);
    }
    let bounds = format!(
        "a duration of whole milliseconds from \"{}ms\" to \"{}ms\"",
        range.start(),
        range.end()
    );
    fields::expected(json, bounds, path, faults);
    None
}

/// Adds a fault for everything in the policies that the storage cannot do. `document` is what they
/// were read from, without a fault.
pub(crate) fn check(
    storage: &Storage,
    policies: &[Policy],
    document: &Json,
    path: &Path<'_>,
    faults: &mut Faults,
) {
    let Storage::Remote(remote) = storage else {
        return;
    };
    let path = path.field("policies");
    for (position, policy) in policies.iter().enumerate() {
        let path = path.item(position);
        let path = path.field("spec");
        let section = section(document, position);
        let path = section.map_or(path, |section| path.field(section));
        let path = path.field("limits");
        for limit in &policy.limits {
            check_limit(remote, limit, &path.field(&limit.name), faults);
        }
    }
}

fn check_limit(remote: &Remote, limit: &Limit, path: &Path<'_>, faults: &mut Faults) {
    for (field, rates) in [("rates", &limit.rates), ("requests", &limit.requests)] {
        let path = path.field(field);
        for (position, rate) in rates.iter().enumerate() {
            let path = path.item(position);
            check_algorithm(rate.algorithm, &path, faults);
            if !matches!(rate.limit, RateLimit::Fixed(_)) {
                let kind = FaultKind::NotRemote("its limits are numbers that it is given");
                faults.push(&path.field("limit"), kind);
            }
            match &rate.window {
                RateWindow::Fixed(window) => check_window(remote, window, &path, faults),
                RateWindow::Computed { .. } => {
                    let kind = FaultKind::NotRemote("its windows are those that it is given");
                    faults.push(&path.field("window"), kind);
                }
            }
        }
    }
    let path = path.field("budgets");
    if remote.protocol == Protocol::EnvoyRls && !limit.budgets.is_empty() {
        let kind = FaultKind::NotRemote("its numbers have no room for billionths of a dollar");
        faults.push(&path, kind);
        return;
    }
    for (position, budget) in limit.budgets.iter().enumerate() {
        let path = path.item(position);
        check_algorithm(budget.algorithm, &path, faults);
        check_window(remote, &budget.window, &path, faults);
    }
}

fn check_algorithm(algorithm: Algorithm, path: &Path<'_>, faults: &mut Faults) {
    if algorithm != Algorithm::Fixed {
        let kind = FaultKind::NotRemote("its windows are fixed");
        faults.push(&path.field("algorithm"), kind);
    }
}

fn check_window(remote: &Remote, window: &Window, path: &Path<'_>, faults: &mut Faults) {
    const SECOND: u64 = 1_000_000_000;
    let limitador = remote.protocol != Protocol::EnvoyRls;
    if limitador && !window.as_nanos().is_multiple_of(SECOND) {
        let kind = FaultKind::NotRemote("its windows are of whole seconds");
        faults.push(&path.field("window"), kind);
    }
}

/// Where the limits of a policy stand in the document, if not in its spec itself.
fn section(document: &Json, position: usize) -> Option<&'static str> {
    let Json::Array(policies) = document.field("policies")? else {
        return None;
    };
    let spec = policies.get(position)?.field("spec")?;
    ["defaults", "overrides"]
        .into_iter()
        .find(|section| spec.field(section).is_some())
}
