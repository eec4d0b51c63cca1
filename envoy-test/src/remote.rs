//! tollgate with its counters in a limitador: the storage, the limits and the cluster that it takes.

use std::{net::SocketAddr, ops::RangeInclusive};

use integration::{Limitador, limits};
use serde_json::{Value, json};

use crate::{
    envoy::Builder,
    filters,
    metered::{self, Metered},
    wait::{self, TimedOut},
};

/// The domain of [`metered::policy`]'s limits: its namespace, and the name of what it is attached to.
pub const DOMAIN: &str = "default/llm";

/// The cluster of the service.
pub const CLUSTER: &str = "limitador";

/// What tollgate may speak with a limitador.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `Reserve` and `Commit`.
    Reserve,
    /// `CheckRateLimit` and `Report`.
    CheckReport,
    /// `ShouldRateLimit`, as with any service that speaks Envoy's protocol.
    EnvoyRls,
}

/// What goes wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is not valid.
    #[error("{0}")]
    Configuration(#[from] filter_config::Faults),
    /// The configuration has rates that limitador has not.
    #[error("{0:?}")]
    NotForLimitador(Vec<filter_config::limitador::NotForLimitador>),
    /// The service does not start, or its counters cannot be read.
    #[error(transparent)]
    Limitador(#[from] integration::Error),
    /// Something awaited did not happen.
    #[error("{counted} tokens are counted, not {expected:?}: {source}")]
    Counted {
        /// What the service has counted.
        counted: u64,
        /// What it should have.
        expected: RangeInclusive<u64>,
        /// What was awaited.
        source: TimedOut,
    },
}

// === impl Protocol ===

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Reserve, Self::CheckReport, Self::EnvoyRls];

    /// `storage` of a configuration, with a timeout that only a fault exceeds.
    #[must_use]
    pub fn storage(self) -> Value {
        let mut storage = json!({ "type": "limitador", "cluster": CLUSTER, "timeout": "5s" });
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

/// The limits that `tollgate limits` prints for a configuration, as they stand in limitador's `limits.yaml`.
///
/// # Errors
/// [`Error::Configuration`] and [`Error::NotForLimitador`].
pub fn limits(configuration: &Value) -> Result<Vec<Value>, Error> {
    let configuration = filter_config::parse(configuration.to_string().as_bytes())?;
    let limits =
        filter_config::limitador::limits(&configuration, None).map_err(Error::NotForLimitador)?;
    Ok(limits.into_iter().map(|limit| json!(limit)).collect())
}

/// A limit as it stands there: in `domain`, for each value of the descriptor entry `key`, at most `max_value` hits
/// in `seconds`.
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

/// A service with the limits of a configuration, to be started.
///
/// # Errors
/// As [`limits`].
pub fn limitador(configuration: &Value) -> Result<integration::Builder, Error> {
    let limits = Value::from(limits(configuration)?).to_string();
    let limits = limits::parse(&limits).map_err(integration::Error::from)?;
    Ok(Limitador::builder(limits))
}

/// Adds the cluster of a service.
#[must_use]
pub fn cluster(builder: Builder, limitador: SocketAddr) -> Builder {
    builder.cluster(filters::cluster(CLUSTER, limitador, true))
}

/// A gateway whose counters are in this service.
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

/// What the service has counted in [`DOMAIN`], all counters together.
///
/// # Errors
/// When it cannot be read.
pub async fn counted(limitador: &Limitador) -> Result<u64, Error> {
    let counters = limitador.counters(DOMAIN).await?;
    Ok(counters.iter().map(|counter| counter.used).sum())
}

/// Waits until the service has counted so many tokens in [`DOMAIN`].
///
/// # Errors
/// When it does not come to that.
pub async fn wait_for_counted(limitador: &Limitador, expected: u64) -> Result<(), Error> {
    wait_for_counted_within(limitador, expected..=expected).await
}

/// Waits until what the service has counted in [`DOMAIN`] is within a range.
///
/// # Errors
/// When it does not come to that.
pub async fn wait_for_counted_within(
    limitador: &Limitador,
    expected: RangeInclusive<u64>,
) -> Result<(), Error> {
    let waited = wait::until("what was used to be counted", async || {
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
