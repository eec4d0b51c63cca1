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
