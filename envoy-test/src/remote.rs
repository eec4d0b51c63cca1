//! tollgate with its counters in limitador: the storage, the limits and the cluster that this needs.

use std::{net::SocketAddr, ops::RangeInclusive};

use integration::{Limitador, limits};
use serde_json::{Value, json};

use crate::{
    envoy::Builder,
    filters,
    metered::{self, Metered},
    wait::{self, TimedOut},
};

/// The domain of the limits of [`metered::policy`]: the policy's namespace and the name of its target.
pub const DOMAIN: &str = "default/llm";

/// The cluster of the rate limit service.
pub const CLUSTER: &str = "limitador";

/// The protocol between tollgate and limitador.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `Reserve` and `Commit`.
    Reserve,
    /// `CheckRateLimit` and `Report`.
    CheckReport,
    /// `ShouldRateLimit`, as with any service that speaks Envoy's protocol.
    EnvoyRls,
}

/// What can go wrong with a rate limit service.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is not valid.
    #[error("{0}")]
    Configuration(#[from] filter_config::ValidationErrors),
    /// The configuration has rates that limitador does not support.
    #[error("{0:?}")]
    NotForLimitador(Vec<filter_config::limitador::Unsupported>),
    /// The service does not start, or its counters cannot be read.
    #[error(transparent)]
    Limitador(#[from] integration::Error),
    /// The service does not reach the expected count.
    #[error("{counted} tokens counted, expected {expected:?}: {source}")]
    Counted {
        /// The tokens that the service has counted.
        counted: u64,
        /// The expected number of tokens.
        expected: RangeInclusive<u64>,
        /// The timeout.
        source: TimedOut,
    },
}

// === impl Protocol ===

impl Protocol {
    /// All protocols.
    pub const ALL: [Self; 3] = [Self::Reserve, Self::CheckReport, Self::EnvoyRls];

    /// Returns the field `storage` of a configuration.
    ///
    /// Its timeout is so long that only a failure exceeds it: a call that times out on a busy machine may have been
    /// counted, and is then counted twice.
    #[must_use]
    pub fn storage(self) -> Value {
        let mut storage =
            json!({ "type": "limitador", "cluster": CLUSTER, "timeout": filters::TIMEOUT });
        match self {
            Self::Reserve => storage["protocol"] = "reserve".into(),
            Self::CheckReport => storage["protocol"] = "check-report".into(),
            Self::EnvoyRls => {
                storage["type"] = "envoy-rls".into();
                storage["domain"] = DOMAIN.into();
            }
        }
        storage
    }
}

/// Returns the limits that `tollgate limits` prints for a configuration, in the form of limitador's `limits.yaml`.
///
/// # Errors
/// [`Error::Configuration`] and [`Error::NotForLimitador`].
pub fn limits(configuration: &Value) -> Result<Vec<Value>, Error> {
    let configuration = filter_config::parse(configuration.to_string().as_bytes())?;
    let limits =
        filter_config::limitador::limits(&configuration, None).map_err(Error::NotForLimitador)?;
    Ok(limits.into_iter().map(|limit| json!(limit)).collect())
}

/// Returns a limit in that form: in `domain`, at most `max_value` hits in `seconds` for each value of the descriptor
/// entry `key`.
#[must_use]
pub fn limit(domain: &str, key: &str, max_value: u64, seconds: u64) -> Value {
    json!({
        "namespace": domain,
        "max_value": max_value,
        "seconds": seconds,
        "conditions": [],
        "variables": [format!("descriptors[0][{key:?}]")],
    })
}

/// Returns a builder of a service with the limits of a configuration.
///
/// # Errors
/// As [`limits`].
pub fn limitador(configuration: &Value) -> Result<integration::Builder, Error> {
    let limits = Value::from(limits(configuration)?).to_string();
    let limits = limits::parse(&limits).map_err(integration::Error::from)?;
    Ok(Limitador::builder(limits))
}

/// Adds the cluster of a rate limit service.
#[must_use]
pub fn cluster(builder: Builder, limitador: SocketAddr) -> Builder {
    builder.cluster(filters::cluster(CLUSTER, limitador, true))
}

/// Starts a gateway whose counters are in this service.
///
/// # Errors
/// As [`Metered::build`].
pub async fn gateway(
    configuration: Value,
    limitador: SocketAddr,
    workers: u32,
) -> Result<Metered, metered::Error> {
    Metered::build(configuration, |builder| {
        cluster(builder.concurrency(workers), limitador)
    })
    .await
}

/// Returns the sum of all counters of the service in [`DOMAIN`].
///
/// # Errors
/// When it cannot be read.
pub async fn counted(limitador: &Limitador) -> Result<u64, Error> {
    let counters = limitador.counters(DOMAIN).await?;
    Ok(counters.iter().map(|counter| counter.used).sum())
}

/// Waits until the counters of the service in [`DOMAIN`] sum up to `expected`.
///
/// # Errors
/// When they do not in time.
pub async fn wait_for_counted(limitador: &Limitador, expected: u64) -> Result<(), Error> {
    wait_for_counted_within(limitador, expected..=expected).await
}

/// Waits until the sum of the counters of the service in [`DOMAIN`] is in the range `expected`.
///
/// # Errors
/// When it is not in time.
pub async fn wait_for_counted_within(
    limitador: &Limitador,
    expected: RangeInclusive<u64>,
) -> Result<(), Error> {
    let waited = wait::until("usage to be counted", async || {
        match counted(limitador).await {
            Ok(counted) => expected.contains(&counted).then_some(Ok(())),
            Err(error) => Some(Err(error)),
        }
    });
    match waited.await {
        Ok(counted) => counted,
        Err(source) => Err(Error::Counted {
            counted: counted(limitador).await?,
            expected,
            source,
        }),
    }
}
