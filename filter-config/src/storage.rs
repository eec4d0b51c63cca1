//! `storage`: where the counters are, in Envoy's shared data or in a rate limit service.

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::fields::{Fields, Schema};
use crate::json::Json;
use crate::limit::Limit;
use crate::path::Path;
use crate::policy::Policy;
use crate::rate::{Algorithm, RateLimit, RateWindow};
use crate::reader;
use crate::values;
use crate::window::Window;
use std::time::Duration;

/// Where the counters are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In Envoy's shared data.
    Local {
        /// The number of counters that are kept, within [`bounds::MAX_COUNTERS`].
        max_counters: u32,
    },
    /// In a service, by gRPC.
    Remote(Remote),
}

/// A rate limit service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The Envoy cluster of the service, at most [`bounds::CLUSTER_BYTES`].
    pub cluster: String,
    /// The protocol of the service.
    pub protocol: Protocol,
    /// The domain of all policies. By default each policy has its own, [`Policy::domain`].
    pub domain: Option<String>,
    /// The time until a call fails, within [`bounds::STORAGE_TIMEOUT`].
    pub timeout: Duration,
    /// The decision on requests while the service is unavailable.
    pub failure_mode: RemoteFailureMode,
    /// The time for which settlements are collected to be sent together, within [`bounds::STORAGE_FLUSH`]; zero
    /// sends each at once.
    pub flush: Duration,
    /// The number of counters that this Envoy itself keeps, in shared data.
    pub max_counters: u32,
    /// The slices of busy counters that a worker reserves; only [`Protocol::Reserve`] has them.
    pub lease: Option<Lease>,
}

/// The slices of busy counters that a worker reserves, to admit requests from them without a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The maximum tokens of a slice, within [`bounds::LEASE_AMOUNT`].
    pub amount: u64,
    /// The maximum requests of a slice, within [`bounds::LEASE_REQUESTS`].
    pub requests: u64,
    /// How long a worker admits requests from a slice, within [`bounds::LEASE_TTL`].
    pub ttl: Duration,
}

/// The protocol of a rate limit service.
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

/// The decision on requests while a rate limit service is unavailable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RemoteFailureMode {
    /// By the counters of this Envoy.
    #[default]
    Local,
    /// Requests are admitted.
    Allow,
    /// Requests are rejected, with status 500.
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
        "lease",
    ],
    ignored: &[],
};

pub(crate) const LEASE: Schema = Schema {
    known: &["amount", "requests", "ttl"],
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

const DEFAULT_TIMEOUT: Duration = Duration::from_millis(100);

const DEFAULT_LEASE_REQUESTS: u64 = 100;

const DEFAULT_LEASE_TTL: Duration = Duration::from_secs(10);

/// The value of `type`.
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
pub(crate) fn read(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Storage, Invalid> {
    // The type comes first: the errors of the other fields of a wrong type would be noise.
    let kind = match json.field("type") {
        None => Kind::Local,
        Some(json) => {
            let kinds = [
                ("local", Kind::Local),
                ("limitador", Kind::Limitador),
                ("envoy-rls", Kind::EnvoyRls),
            ];
            reader::choice(json, &kinds, &path.field("type"), errors)?
        }
    };
    let without_lease = match kind {
        Kind::Local => Some(r#""type": "local""#),
        Kind::EnvoyRls => Some(r#""type": "envoy-rls""#),
        Kind::Limitador => None,
    };
    if let Some(found) = without_lease
        && json.field("lease").is_some()
    {
        return Err(errors.push(&path.field("lease"), ErrorKind::NoLease(found)));
    }
    let schema = match kind {
        Kind::Local => &LOCAL,
        Kind::Limitador => &LIMITADOR,
        Kind::EnvoyRls => &ENVOY_RLS,
    };
    let fields = Fields::read(json, path, schema, errors)?;
    let max_counters = fields
        .read_or(
            "maxCounters",
            path,
            errors,
            || u64::from(DEFAULT_MAX_COUNTERS),
            |json, path, errors| reader::whole(json, &bounds::MAX_COUNTERS, path, errors),
        )
        .and_then(|counters| u32::try_from(counters).map_err(|_| Invalid));
    if kind == Kind::Local {
        return Ok(Storage::Local {
            max_counters: max_counters?,
        });
    }
    remote(fields, kind, max_counters, path, errors).map(Storage::Remote)
}

fn remote(
    fields: Fields<'_>,
    kind: Kind,
    max_counters: Result<u32, Invalid>,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Remote, Invalid> {
    let cluster = fields.require("cluster", path, errors, |json, path, errors| {
        reader::name(json, bounds::CLUSTER_BYTES, path, errors)
    });
    let protocol = match kind {
        Kind::EnvoyRls => Ok(Protocol::EnvoyRls),
        _ => fields.read_or("protocol", path, errors, Protocol::default, protocol),
    };
    let domain_name = match kind {
        // The configuration of such a service groups limits by a domain of its own choice.
        Kind::EnvoyRls => fields.require("domain", path, errors, domain).map(Some),
        _ => fields.read_optional("domain", path, errors, domain),
    };
    let timeout = fields.read_or(
        "timeout",
        path,
        errors,
        || DEFAULT_TIMEOUT,
        |json, path, errors| values::milliseconds(json, &bounds::STORAGE_TIMEOUT, path, errors),
    );
    let failure_mode = fields.read_or(
        "failureMode",
        path,
        errors,
        RemoteFailureMode::default,
        failure_mode,
    );
    let flush = fields.read_or(
        "flush",
        path,
        errors,
        || Duration::ZERO,
        |json, path, errors| values::milliseconds(json, &bounds::STORAGE_FLUSH, path, errors),
    );
    let lease = fields.read_optional("lease", path, errors, lease);
    if let (Ok(Some(_)), Ok(Protocol::CheckReport)) = (&lease, &protocol) {
        let kind = ErrorKind::NoLease(r#""protocol": "check-report""#);
        return Err(errors.push(&path.field("lease"), kind));
    }
    Ok(Remote {
        cluster: cluster?,
        protocol: protocol?,
        domain: domain_name?,
        timeout: timeout?,
        failure_mode: failure_mode?,
        flush: flush?,
        max_counters: max_counters?,
        lease: lease?,
    })
}

fn lease(json: &Json, path: &Path<'_>, errors: &mut ValidationErrors) -> Result<Lease, Invalid> {
    let fields = Fields::read(json, path, &LEASE, errors)?;
    let amount = fields.require("amount", path, errors, |json, path, errors| {
        reader::whole(json, &bounds::LEASE_AMOUNT, path, errors)
    });
    let requests = fields.read_or(
        "requests",
        path,
        errors,
        || DEFAULT_LEASE_REQUESTS,
        |json, path, errors| reader::whole(json, &bounds::LEASE_REQUESTS, path, errors),
    );
    let ttl = fields.read_or(
        "ttl",
        path,
        errors,
        || DEFAULT_LEASE_TTL,
        |json, path, errors| values::milliseconds(json, &bounds::LEASE_TTL, path, errors),
    );
    Ok(Lease {
        amount: amount?,
        requests: requests?,
        ttl: ttl?,
    })
}

fn domain(json: &Json, path: &Path<'_>, errors: &mut ValidationErrors) -> Result<String, Invalid> {
    reader::name(json, bounds::DOMAIN_BYTES, path, errors)
}

fn protocol(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Protocol, Invalid> {
    let choices = [
        ("reserve", Protocol::Reserve),
        ("check-report", Protocol::CheckReport),
    ];
    reader::choice(json, &choices, path, errors)
}

fn failure_mode(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<RemoteFailureMode, Invalid> {
    let choices = [
        ("local", RemoteFailureMode::Local),
        ("allow", RemoteFailureMode::Allow),
        ("deny", RemoteFailureMode::Deny),
    ];
    reader::choice(json, &choices, path, errors)
}

/// Adds an error for every part of the policies that the storage does not support.
pub(crate) fn check(storage: &Storage, policies: &[Policy], errors: &mut ValidationErrors) {
    let Storage::Remote(remote) = storage else {
        return;
    };
    for policy in policies {
        let path = Path::At(&policy.path);
        let path = path.field("spec");
        let path = policy.section.map_or(path, |section| path.field(section));
        let path = path.field("limits");
        for limit in &policy.limits {
            check_limit(remote, limit, &path.field(&limit.name), errors);
        }
    }
}

fn check_limit(remote: &Remote, limit: &Limit, path: &Path<'_>, errors: &mut ValidationErrors) {
    for (field, rates) in [("rates", &limit.rates), ("requests", &limit.requests)] {
        let path = path.field(field);
        for (position, rate) in rates.iter().enumerate() {
            let path = path.item(position);
            check_algorithm(rate.algorithm, &path, errors);
            if !matches!(rate.limit, RateLimit::Fixed(_)) {
                let kind = ErrorKind::NotRemote("a number");
                errors.push(&path.field("limit"), kind);
            }
            match &rate.window {
                RateWindow::Fixed(window) => check_window(remote, window, &path, errors),
                RateWindow::Computed { .. } => {
                    let kind = ErrorKind::NotRemote("a duration");
                    errors.push(&path.field("window"), kind);
                }
            }
        }
    }
    let path = path.field("budgets");
    if remote.protocol == Protocol::EnvoyRls && !limit.budgets.is_empty() {
        let kind =
            ErrorKind::NotRemote("none: its counters are too small for billionths of a dollar");
        errors.push(&path, kind);
        return;
    }
    for (position, budget) in limit.budgets.iter().enumerate() {
        let path = path.item(position);
        check_algorithm(budget.algorithm, &path, errors);
        check_window(remote, &budget.window, &path, errors);
    }
}

fn check_algorithm(algorithm: Algorithm, path: &Path<'_>, errors: &mut ValidationErrors) {
    if algorithm != Algorithm::Fixed {
        let kind = ErrorKind::NotRemote("\"fixed\"");
        errors.push(&path.field("algorithm"), kind);
    }
}

fn check_window(remote: &Remote, window: &Window, path: &Path<'_>, errors: &mut ValidationErrors) {
    const SECOND: u64 = 1_000_000_000;
    let limitador = remote.protocol != Protocol::EnvoyRls;
    if limitador && !window.as_nanos().is_multiple_of(SECOND) {
        let kind = ErrorKind::NotRemote("whole seconds");
        errors.push(&path.field("window"), kind);
    }
}
