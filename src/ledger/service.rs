//! The rate limit service of a configuration, and the names under which it knows the limits.

use crate::host::{Host, Result};
use crate::policies::{KeyHasher, Unit};
use crate::telemetry::ServiceMetrics;
use filter_config::descriptor::{self, Counted};
use filter_config::{
    Configuration, Limit, LimitIndex, Policy, Protocol, RemoteFailureMode, Storage,
};
use limits::service::{self, LeaseSettings, QueueBounds, ServiceClient, ServiceSettings};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::rc::Rc;

/// The rate limit service of a configuration.
pub(super) struct Service {
    /// The client of the service.
    pub(super) client: ServiceClient,
    /// What happens to requests while the service does not answer.
    pub(super) failure_mode: RemoteFailureMode,
    /// The names of the limits, by policy and limit.
    names: Vec<Vec<LimitNames>>,
}

/// A limit as the service knows it.
#[derive(Clone, Debug)]
pub(super) struct LimitNames {
    /// The domain.
    pub(super) domain: Rc<str>,
    /// The sources of the counter expressions, which are the keys of their values.
    pub(super) counters: Vec<Rc<str>>,
    tokens: LimitKey,
    requests: LimitKey,
    usd: LimitKey,
}

/// The key of the descriptor entry that stands for a limit.
#[derive(Clone, Debug)]
pub(super) struct LimitKey {
    /// The key.
    pub(super) text: String,
    /// A hash of the domain and the key.
    pub(super) hash: u128,
}

// === impl Service ===

impl Service {
    /// Returns the service that a configuration names, if it names one.
    ///
    /// # Errors
    /// Whatever Envoy answers to the definition of metrics; none is expected.
    pub(super) fn new(host: &Rc<dyn Host>, configuration: &Configuration) -> Result<Option<Self>> {
        let Storage::Remote(remote) = &configuration.storage else {
            return Ok(None);
        };
        let of_policy = |policy: &Policy| {
            let domain = remote.domain.clone();
            let domain: Rc<str> = domain.unwrap_or_else(|| policy.domain()).into();
            let limits = policy.limits.iter();
            limits.map(|limit| names(&domain, policy, limit)).collect()
        };
        let settings = ServiceSettings {
            cluster: remote.cluster.clone(),
            protocol: match remote.protocol {
                Protocol::Reserve => service::Protocol::Reserve,
                Protocol::CheckReport => service::Protocol::CheckReport,
                Protocol::EnvoyRls => service::Protocol::EnvoyRls,
            },
            timeout: remote.timeout.into(),
            flush_interval: remote.flush.into(),
            queue: QueueBounds::default(),
            lease: remote.lease.map(|lease| LeaseSettings {
                tokens: lease.amount,
                requests: lease.requests,
                ttl: lease.ttl.into(),
            }),
        };
        let metrics = ServiceMetrics::define(Rc::clone(host))?;
        // Jitter only has to differ between workers.
        let seed = RandomState::new().hash_one(0_u8);
        let transport = Rc::clone(host) as _;
        let shared = Rc::clone(host) as _;
        Ok(Some(Self {
            client: ServiceClient::new(settings, transport, Rc::new(metrics), shared, seed),
            failure_mode: remote.failure_mode,
            names: configuration.policies.iter().map(of_policy).collect(),
        }))
    }

    /// Returns the names of a limit.
    #[must_use]
    pub(super) fn names(&self, limit: LimitIndex) -> Option<&LimitNames> {
        self.names.get(limit.policy)?.get(limit.limit)
    }
}

// === impl LimitNames ===

impl LimitNames {
    /// Returns the key under which the service counts a unit; `None` where it does not count it.
    #[must_use]
    pub(super) const fn key(&self, unit: Unit) -> Option<&LimitKey> {
        match unit {
            Unit::Tokens(_) => Some(&self.tokens),
            Unit::Requests(_) => Some(&self.requests),
            Unit::Usd(_) => Some(&self.usd),
            Unit::InFlight => None,
        }
    }
}

fn names(domain: &Rc<str>, policy: &Policy, limit: &Limit) -> LimitNames {
    let key = |counted: Counted| {
        let text = descriptor::limit_key(counted, &policy.name, &limit.name);
        let mut hasher = KeyHasher::unkeyed();
        hasher.value(domain.as_bytes());
        hasher.value(text.as_bytes());
        LimitKey {
            hash: hasher.finish(),
            text,
        }
    };
    let counters = limit.counters.iter();
    LimitNames {
        domain: Rc::clone(domain),
        tokens: key(Counted::Tokens),
        requests: key(Counted::Requests),
        usd: key(Counted::Usd),
        counters: counters.map(|counter| counter.source().into()).collect(),
    }
}
