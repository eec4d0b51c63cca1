//! What can go wrong with an Envoy.

use crate::{binary, wait::TimedOut};

/// Why an Envoy does not start, or does not do what was expected of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No Envoy is available.
    #[error(transparent)]
    Binary(#[from] binary::Error),
    /// Its files could not be written or read, or the process could not be started.
    #[error("envoy: {0}")]
    Io(#[from] std::io::Error),
    /// The process ended.
    #[error("envoy ended:\n{log}")]
    Ended {
        /// The last lines of its log.
        log: String,
    },
    /// It rejected the listener that it was started with.
    #[error("envoy rejected the listener: {0}")]
    Rejected(Rejection),
    /// The listener of a shared process cannot be updated.
    #[error("a gateway in a shared process cannot be updated: use `Builder::own_process`")]
    SharedProcess,
    /// The admin interface did not answer.
    #[error("envoy's admin interface: {0}")]
    Admin(#[from] reqwest::Error),
    /// A condition did not become true.
    #[error("{source}; envoy's log:\n{log}")]
    TimedOut {
        /// The condition.
        source: TimedOut,
        /// The last lines of its log.
        log: String,
    },
}

/// Why Envoy rejected a listener.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}\n{log}")]
pub struct Rejection {
    /// The reason that Envoy gives.
    pub reason: String,
    /// What was logged meanwhile, such as a plugin's validation errors.
    pub log: String,
}
