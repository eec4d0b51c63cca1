//! Why counters could not be checked or written.

use crate::host::HostError;
use limits::StoreError;

/// Why counters could not be checked or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    /// The counters in shared data could not be read or written.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The rate limit service does not answer, and `failureMode` is `deny`.
    #[error("the rate limit service does not answer")]
    ServiceUnavailable,
    /// Envoy returned no time.
    #[error("clock: {0}")]
    Clock(#[from] HostError),
}
