//! The limiter of the limitador library, with its counters in memory or in Redis.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    time::Duration,
};

use limitador::{
    AsyncRateLimiter, CheckResult, RateLimiter,
    counter::Counter,
    errors::LimitadorError,
    limit::{Context, Limit, Namespace},
    reservation::{CommitResult, ReservationId, ReserveResult},
};

use crate::redis::RedisStorage;

/// The maximum number of counters in memory.
const MAX_IN_MEMORY: u64 = 65_536;

/// A limiter with either storage.
pub(crate) enum Counters {
    Memory(RateLimiter),
    Redis(AsyncRateLimiter),
}

/// The state of a counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its limit.
    pub(crate) definition: Limit,
    /// The name of its limit, where it has one.
    pub limit: Option<String>,
    /// The expressions that identify it among the counters of its limit, with their values.
    pub variables: BTreeMap<String, String>,
    /// The limit for a window.
    pub max_value: u64,
    /// The length of a window.
    pub window: Duration,
    /// The usage, at most `max_value`: the library does not return by how much a limit is exceeded.
    pub used: u64,
    /// The time until the window ends.
    pub expires_in: Duration,
}

// === impl Counters ===

impl Counters {
    pub(crate) fn in_memory(limits: Vec<Limit>) -> Self {
        let limiter = RateLimiter::new(MAX_IN_MEMORY);
        for limit in limits {
            limiter.add_limit(limit);
        }
        Self::Memory(limiter)
    }

    /// # Errors
    /// When Redis cannot be reached at this URL.
    pub(crate) async fn in_redis(url: &str, limits: Vec<Limit>) -> Result<Self, redis::RedisError> {
        let storage = RedisStorage::connect(url).await?;
        let limiter = AsyncRateLimiter::new_with_storage(Box::new(storage));
        for limit in limits {
            limiter.add_limit(limit);
        }
        Ok(Self::Redis(limiter))
    }

    pub(crate) async fn check(
        &self,
        namespace: &Namespace,
        context: &Context<'_>,
        hits: u64,
    ) -> Result<CheckResult, LimitadorError> {
        match self {
            Self::Memory(limiter) => limiter.is_rate_limited(namespace, context, hits),
            Self::Redis(limiter) => limiter.is_rate_limited(namespace, context, hits).await,
        }
    }

    pub(crate) async fn check_and_add(
        &self,
        namespace: &Namespace,
        context: &Context<'_>,
        hits: u64,
    ) -> Result<CheckResult, LimitadorError> {
        match self {
            Self::Memory(limiter) => {
                limiter.check_rate_limited_and_update(namespace, context, hits)
            }
            Self::Redis(limiter) => {
                limiter
                    .check_rate_limited_and_update(namespace, context, hits)
                    .await
            }
        }
    }

    pub(crate) async fn add(
        &self,
        namespace: &Namespace,
        context: &Context<'_>,
        hits: u64,
    ) -> Result<(), LimitadorError> {
        match self {
            Self::Memory(limiter) => limiter.update_counters(namespace, context, hits),
            Self::Redis(limiter) => limiter.update_counters(namespace, context, hits).await,
        }
    }

    pub(crate) async fn reserve(
        &self,
        namespace: &Namespace,
        context: &Context<'_>,
        amount: u64,
        ttl: Option<Duration>,
    ) -> Result<ReserveResult, LimitadorError> {
        match self {
            Self::Memory(limiter) => limiter.reserve(namespace, context, amount, ttl),
            Self::Redis(limiter) => limiter.reserve(namespace, context, amount, ttl).await,
        }
    }

    pub(crate) async fn commit(
        &self,
        namespace: &Namespace,
        context: &Context<'_>,
        reservation: Option<&ReservationId>,
        amount: u64,
    ) -> Result<CommitResult, LimitadorError> {
        match self {
            Self::Memory(limiter) => {
                limiter.commit_reservation(namespace, context, reservation, amount)
            }
            Self::Redis(limiter) => {
                limiter
                    .commit_reservation(namespace, context, reservation, amount)
                    .await
            }
        }
    }

    pub(crate) fn limits(&self, namespace: &Namespace) -> HashSet<Limit> {
        match self {
            Self::Memory(limiter) => limiter.get_limits(namespace),
            Self::Redis(limiter) => limiter.get_limits(namespace),
        }
    }

    pub(crate) async fn standings(
        &self,
        namespace: &Namespace,
    ) -> Result<Vec<Standing>, LimitadorError> {
        let counters = match self {
            Self::Memory(limiter) => limiter.get_counters(namespace)?,
            Self::Redis(limiter) => limiter.get_counters(namespace).await?,
        };
        Ok(counters.iter().map(Standing::of).collect())
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Memory(_) => "Counters::Memory",
            Self::Redis(_) => "Counters::Redis",
        })
    }
}

// === impl Standing ===

impl Standing {
    fn of(counter: &Counter) -> Self {
        let remaining = counter.remaining().unwrap_or(counter.max_value());
        Self {
            definition: counter.limit().clone(),
            limit: counter.limit().name().map(str::to_owned),
            variables: counter.set_variables().clone(),
            max_value: counter.max_value(),
            window: counter.window(),
            used: counter.max_value().saturating_sub(remaining),
            expires_in: counter.expires_in().unwrap_or_default(),
        }
    }
}
