//! Whether a service is worth asking: after failures in a row it is left alone, but for a probe now
//! and then, so that nobody waits for it in vain.

use super::backoff;

/// Failures in a row after which a service is taken to be away.
pub const FAILURES: u32 = 5;

/// The circuit to a service. The default is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// The service is asked.
    Closed {
        /// Failures in a row so far.
        failures: u32,
    },
    /// The service is not asked.
    Open {
        /// Probes that failed, and the failure that opened it.
        failures: u32,
        /// When to probe next, nanoseconds since the epoch.
        probe_at: u64,
    },
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The service is not asked any more.
    Opened,
    /// It is asked again.
    Closed,
}

// === impl Circuit ===

impl Default for Circuit {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Circuit {
    /// Whether the service is not to be asked.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// The service has answered.
    pub fn succeeded(&mut self) -> Option<Change> {
        let change = self.is_open().then_some(Change::Closed);
        *self = Self::default();
        change
    }

    /// The service has not answered. What fails while the circuit is open was asked before.
    pub fn failed(&mut self, now: u64, random: u64) -> Option<Change> {
        let Self::Closed { failures } = self else {
            return None;
        };
        *failures = failures.saturating_add(1);
        if *failures < FAILURES {
            return None;
        }
        *self = Self::Open {
            failures: 1,
            probe_at: now.saturating_add(backoff::wait(1, random)),
        };
        Some(Change::Opened)
    }

    /// Whether the service is to be probed now. The next probe is due after a longer wait.
    pub fn probe(&mut self, now: u64, random: u64) -> bool {
        let Self::Open { failures, probe_at } = self else {
            return false;
        };
        // A clock that stepped back must not put it off for longer than any wait.
        let due = now >= *probe_at || now.saturating_add(backoff::LONGEST) < *probe_at;
        if due {
            *failures = failures.saturating_add(1);
            *probe_at = now.saturating_add(backoff::wait(*failures, random));
        }
        due
    }
}
