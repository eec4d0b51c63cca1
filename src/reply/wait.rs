//! When a rejected request can be retried.

use limits::Nanos;
use std::time::Duration;

/// The time after which a rejected request can be retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    length: Nanos,
    /// Whether it is longer than a client is requested to wait: SDKs would block for all of it.
    is_long: bool,
}

// === impl Wait ===

impl Wait {
    /// The wait where only requests in flight leave no room: it is not known when they end, so a second is as
    /// good as any other time.
    const UNKNOWN: Nanos = Nanos::SECOND;

    /// Returns the wait until a limit is reset. `retry-after` of a rate limit service takes precedence.
    pub(super) fn new(reset: Nanos, service_headers: &[(String, Vec<u8>)], max: Duration) -> Self {
        let length = match of_service(service_headers).unwrap_or(reset) {
            Nanos::ZERO => Self::UNKNOWN,
            reset => reset,
        };
        Self {
            length,
            is_long: Duration::from(length) > max,
        }
    }

    /// Returns the wait for a limit that never has room for the request.
    pub(super) const fn without_end(self) -> Self {
        Self {
            is_long: true,
            ..self
        }
    }

    /// Returns its length.
    pub(super) const fn length(self) -> Nanos {
        self.length
    }

    /// Returns its whole seconds, rounded up.
    pub(super) const fn seconds(self) -> u64 {
        self.length.as_secs_rounded_up()
    }

    /// Returns its length, if clients are to wait for it.
    pub(super) fn requested(self) -> Option<Nanos> {
        (!self.is_long).then_some(self.length)
    }
}

/// Returns the wait that a rate limit service requests.
fn of_service(headers: &[(String, Vec<u8>)]) -> Option<Nanos> {
    let (_, value) = headers.iter().find(|(name, _)| name == "retry-after")?;
    let seconds: u64 = str::from_utf8(value).ok()?.trim().parse().ok()?;
    Some(Nanos::from_secs(seconds))
}
