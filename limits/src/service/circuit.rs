//! Whether a service is worth calling: after failures in a row it is only probed, so that no request
//! waits for its timeout.

use super::backoff;
use crate::time::Timestamp;

/// The failures in a row that open the circuit.
pub(super) const MAX_FAILURES: u32 = 5;

/// The circuit to a service. The default is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Circuit {
    /// The service is called.
    Closed {
        /// The failures in a row so far.
        failures: u32,
    },
    /// The service is only probed.
    Open {
        /// The probes that failed, and the failure that opened the circuit.
        failures: u32,
        /// When the next probe is due.
        probe_at: Timestamp,
    },
}

/// A change of the circuit's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The circuit has opened.
    Opened,
    /// The circuit has closed.
    Closed,
}

// === impl Circuit ===

impl Default for Circuit {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Circuit {
    /// Returns whether the service is not to be called.
    pub(super) const fn is_open(self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// Takes note that the service has replied.
    pub(super) fn succeeded(&mut self) -> Option<Change> {
        let change = self.is_open().then_some(Change::Closed);
        *self = Self::default();
        change
    }

    /// Takes note that the service has not replied. What fails while the circuit is open was called
    /// before, or is a probe.
    pub(super) fn failed(&mut self, now: Timestamp, random: u64) -> Option<Change> {
        let Self::Closed { failures } = self else {
            return None;
        };
        *failures = failures.saturating_add(1);
        if *failures < MAX_FAILURES {
            return None;
        }
        *self = Self::Open {
            failures: 1,
            probe_at: now.saturating_add(backoff::delay(1, random)),
        };
        Some(Change::Opened)
    }

    /// Returns whether the service is to be probed now. The next probe is due after a longer delay.
    pub(super) fn probe(&mut self, now: Timestamp, random: u64) -> bool {
        let Self::Open { failures, probe_at } = self else {
            return false;
        };
        // A clock that stepped backwards must not put a probe off for longer than the longest delay.
        let due = now >= *probe_at || now.saturating_add(backoff::MAX_DELAY) < *probe_at;
        if due {
            *failures = failures.saturating_add(1);
            *probe_at = now.saturating_add(backoff::delay(*failures, random));
        }
        due
    }
}
