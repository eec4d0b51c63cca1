//! How to reach a rate limit service, and what is kept for it.

use crate::time::Nanos;

/// The settings of a rate limit service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSettings {
    /// The cluster of the service, as the [`Transport`](super::Transport) knows it.
    pub cluster: String,
    /// The protocol of the service.
    pub protocol: Protocol,
    /// How long a check waits for its reply.
    pub timeout: Nanos,
    /// How long usage is gathered before it is reported; zero reports it at once.
    pub flush_interval: Nanos,
    /// The bounds of the queue of settlements.
    pub queue: QueueBounds,
    /// The slices of busy counters that a worker reserves; only [`Protocol::Reserve`] has them.
    pub lease: Option<LeaseSettings>,
}

/// The slices of busy counters that a worker reserves at a service, to admit requests from them without a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseSettings {
    /// The maximum tokens of a slice, or whatever a limit counts with a cost of its own.
    pub tokens: u64,
    /// The maximum requests of a slice.
    pub requests: u64,
    /// How long a worker admits requests from a slice.
    pub ttl: Nanos,
}

/// What a leased counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseUnit {
    /// The cost of exchanges: tokens, unless the limit has another.
    Tokens,
    /// Requests.
    Requests,
}

/// The methods that a service is called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// limitador's `Reserve` and `Commit`; if the service does not implement them, as
    /// [`Protocol::CheckReport`] for an hour.
    Reserve,
    /// limitador's `CheckRateLimit` and `Report`.
    CheckReport,
    /// Envoy's `ShouldRateLimit`, to check and to report.
    EnvoyRls,
}

/// The bounds of a queue of settlements. Beyond them, a settlement is merged with another of the same
/// limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueBounds {
    /// The number of entries.
    pub entries: usize,
    /// The bytes of their descriptors.
    pub bytes: usize,
}

// === impl QueueBounds ===

impl Default for QueueBounds {
    fn default() -> Self {
        Self {
            entries: 4096,
            bytes: 4 << 20,
        }
    }
}
