//! A rate limit service, and the names under which it knows the limits.

use super::service_metrics::ServiceMetrics;
use super::{Counts, KeyHasher};
use crate::host::{Host, HostError};
use filter_config::descriptor::{self, Counted};
use filter_config::{Configuration, Limit, Policy, Protocol, RemoteFailureMode, Storage};
use limits::Nanos;
use limits::service::{self, QueueBounds, ServiceClient, ServiceSettings};
use siphasher::sip128::SipHasher13;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::rc::Rc;

/// The rate limit service of a configuration.
pub struct Service {
    /// The service.
    pub remote: ServiceClient,
    /// How requests are decided on while the service does not reply.
    pub failure_mode: RemoteFailureMode,
    /// Its names of the limits, by policy and limit, in the order of the configuration.
    limits: Vec<Vec<Named>>,
}

/// A limit as the service knows it.
#[derive(Clone, Debug)]
pub struct Named {
    /// Where it is known.
    pub domain: Rc<str>,
    /// The texts of the counter expressions, which are the keys of their values.
    pub counters: Vec<Rc<str>>,
    tokens: Key,
    requests: Key,
    usd: Key,
}

/// A key of the descriptor entry that stands for a limit.
#[derive(Clone, Debug)]
pub struct Key {
    /// The key.
    pub text: String,
    /// A hash of the domain and the key.
    pub hash: u128,
}

// === impl Service ===

impl Service {
    /// The service that a configuration names, if it names one.
    ///
    /// # Errors
    /// Whatever Envoy answers to the definition of metrics; none is expected.
    pub fn new(
        host: &Rc<dyn Host>,
        configuration: &Configuration,
    ) -> Result<Option<Self>, HostError> {
        let Storage::Remote(settings) = &configuration.storage else {
            return Ok(None);
        };
        let of_policy = |policy: &Policy| {
            let domain = settings.domain.clone();
            let domain: Rc<str> = domain.unwrap_or_else(|| policy.domain()).into();
            let limits = policy.limits.iter();
            limits.map(|limit| named(&domain, policy, limit)).collect()
        };
        Ok(Some(Self {
            remote: client(host, settings)?,
            failure_mode: settings.failure_mode,
            limits: configuration.policies.iter().map(of_policy).collect(),
        }))
    }

    /// The period of the tick that the service needs, in milliseconds.
    #[must_use]
    pub fn tick_ms(&self) -> u32 {
        u32::try_from(self.remote.tick_period().as_millis()).unwrap_or(u32::MAX)
    }

    /// The names of a limit, by the indices of its policy and itself.
    #[must_use]
    pub fn named(&self, policy: usize, limit: usize) -> Option<&Named> {
        self.limits.get(policy)?.get(limit)
    }
}

// === impl Named ===

impl Named {
    /// The key under which the service counts what a rate counts; `None` where it does not count it.
    #[must_use]
    pub const fn key(&self, counts: Counts) -> Option<&Key> {
        match counts {
            Counts::Tokens(_) => Some(&self.tokens),
            Counts::Requests(_) => Some(&self.requests),
            Counts::Usd(_) => Some(&self.usd),
            Counts::InFlight => None,
        }
    }
}

/// A client of the service that a configuration names.
fn client(
    host: &Rc<dyn Host>,
    settings: &filter_config::Remote,
) -> Result<ServiceClient, HostError> {
    let metrics = ServiceMetrics::define(Rc::clone(host))?;
    let settings = ServiceSettings {
        cluster: settings.cluster.clone(),
        protocol: match settings.protocol {
            Protocol::Reserve => service::Protocol::Reserve,
            Protocol::CheckReport => service::Protocol::CheckReport,
            Protocol::EnvoyRls => service::Protocol::EnvoyRls,
        },
        timeout: Nanos::from_millis(settings.timeout_ms.into()),
        flush_interval: Nanos::from_millis(settings.flush_ms.into()),
        queue: QueueBounds::default(),
    };
    let host: Rc<dyn Host> = Rc::clone(host);
    let seed = RandomState::new().hash_one(0_u8);
    Ok(ServiceClient::new(settings, host, Rc::new(metrics), seed))
}

fn named(domain: &Rc<str>, policy: &Policy, limit: &Limit) -> Named {
    let key = |counted: Counted| {
        let text = descriptor::limit_key(counted, &policy.name, &limit.name);
        let mut hasher = KeyHasher(SipHasher13::new());
        hasher.value(domain.as_bytes());
        hasher.value(text.as_bytes());
        Key {
            hash: hasher.finish(),
            text,
        }
    };
    let counters = limit.counters.iter();
    Named {
        domain: Rc::clone(domain),
        tokens: key(Counted::Tokens),
        requests: key(Counted::Requests),
        usd: key(Counted::Usd),
        counters: counters.map(|counter| counter.source().into()).collect(),
    }
}
