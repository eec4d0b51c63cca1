//! What a request demands of the ledger, and what an admitted exchange is charged to.

use super::charge::{self, Charge, CounterId, Rejection};
use super::trace::Trace;
use filter_config::LimitIndex;
use limits::Timestamp;
use limits::service::{DescriptorSet, LeaseHold, ReservationId};
use std::rc::Rc;
use std::time::Duration;

/// What a request demands: the counters of all limits that apply to it, each with the amount to reserve there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Demands {
    /// The counters.
    pub(crate) charges: Vec<Charge>,
    /// The values that the limits count by, where they have to be known.
    pub(crate) values: Vec<CounterValues>,
    /// Whether a limit was left out because it could not be evaluated.
    pub(crate) failed_open: bool,
}

/// The values that a limit counts by.
#[derive(Clone, Debug)]
pub(crate) struct CounterValues {
    /// The limit.
    pub(crate) limit: LimitIndex,
    /// The values of its counter expressions, in their order.
    pub(crate) texts: Vec<Rc<str>>,
}

/// The decision on a request.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is admitted. Without charges, no limit applies to it.
    Admitted(Admission),
    /// It is rejected.
    Rejected(Rejection, RejectionDetails),
}

/// What else is known of a rejection.
#[derive(Debug, Default)]
pub(crate) struct RejectionDetails {
    /// Headers that a rate limit service has for the response.
    pub(crate) headers: ResponseHeaders,
    /// The counters of all limits that apply, with their standings as far as they were read.
    pub(crate) charges: Vec<Charge>,
}

/// What an admitted exchange is charged to, until it is settled.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    /// The counters.
    pub(crate) charges: Vec<Charge>,
    /// When it was admitted; the epoch where no limit applies.
    pub(super) admitted_at: Timestamp,
    /// The limit in dry run that would have rejected it.
    pub(crate) shadow_rejected: Option<LimitIndex>,
    /// Whether a limit was left out because it could not be evaluated or read.
    pub(crate) failed_open: bool,
    /// Headers that a rate limit service adds to the response.
    pub(crate) response_headers: ResponseHeaders,
    /// The values that the limits count by, where the largest counters are tracked.
    pub(super) tracked: Vec<CounterValues>,
    /// The same counters at a rate limit service, if there is one.
    pub(super) remote: Vec<RemoteReservation>,
    /// Headers that accompany calls to the service.
    pub(super) trace: Trace,
}

/// Headers that a rate limit service adds to a response: names in lower case, values valid in a
/// header.
pub(crate) type ResponseHeaders = Vec<(String, Vec<u8>)>;

/// Counters at a rate limit service that an exchange is charged to.
#[derive(Debug)]
pub(super) struct RemoteReservation {
    /// The counters.
    pub(super) descriptors: Rc<DescriptorSet>,
    /// The reservation that the service has made.
    pub(super) reservation: Option<ReservationId>,
    /// What this worker holds of its lease of the counters; later, where the rest of the cost is taken from.
    pub(super) lease: Option<LeaseHold>,
    /// One of the counters, by which the cost is known: all of them cost the same.
    pub(super) counter: CounterId,
    /// What was added so far, by the check itself or by an early charge.
    pub(super) added: u64,
    /// When the window ends in which an early charge was recorded, as far as this Envoy knows.
    pub(super) charged_until: Option<Timestamp>,
}

// === impl Demands ===

impl Demands {
    /// Returns whether a hard limit is among them.
    #[must_use]
    pub(crate) fn is_hard(&self) -> bool {
        self.charges.iter().any(|charge| charge.counter.is_hard)
    }

    /// Reserves so much at each hard limit.
    pub(crate) fn set_hard_amount(&mut self, amount: u64) {
        for charge in &mut self.charges {
            if charge.counter.is_hard {
                charge.counter.amount = amount;
            }
        }
    }
}

// === impl Verdict ===

impl Verdict {
    /// Returns a rejection by this Envoy's own count, of a request with these charges.
    pub(super) const fn rejected(rejection: Rejection, charges: Vec<Charge>) -> Self {
        let headers = ResponseHeaders::new();
        Self::Rejected(rejection, RejectionDetails { headers, charges })
    }
}

// === impl Admission ===

impl Admission {
    /// Returns the admission of a request that no limit applies to.
    #[must_use]
    pub(crate) fn unmatched(failed_open: bool) -> Self {
        Self {
            failed_open,
            ..Self::default()
        }
    }

    /// Returns the admission of a request with these demands, of which nothing is reserved yet: charges of
    /// enforced limits come first.
    pub(super) fn new(demands: Demands) -> (Self, Vec<CounterValues>) {
        let Demands {
            mut charges,
            values,
            failed_open,
        } = demands;
        let others: Vec<Charge> = charges.extract_if(.., |it| !it.is_enforced).collect();
        charges.extend(others);
        let admission = Self {
            charges,
            failed_open,
            ..Self::default()
        };
        (admission, values)
    }

    /// Returns the time since the request was passed on; `None` where no limit applies to it.
    pub(crate) fn elapsed(&self, now: Timestamp) -> Option<Duration> {
        let is_known = self.admitted_at > Timestamp::EPOCH && now > self.admitted_at;
        is_known.then(|| now.since(self.admitted_at).into())
    }

    /// Releases the memory that is not used, before the request is passed on.
    pub(crate) fn shrink(&mut self) {
        self.charges.shrink_to_fit();
        self.tracked.shrink_to_fit();
        self.remote.shrink_to_fit();
        self.response_headers.shrink_to_fit();
    }

    /// Removes the charges that are deferred, which are stored.
    pub(crate) fn remove_deferred(&mut self) {
        let Self {
            charges, remote, ..
        } = self;
        remote.retain(|it| {
            let charge = charge::find(charges, it.counter);
            !charge.is_some_and(Charge::can_be_deferred)
        });
        charges.retain(|charge| !charge.can_be_deferred());
    }

    /// Returns the charges of enforced limits, and the others.
    pub(super) fn split_mut(&mut self) -> (&mut [Charge], &mut [Charge]) {
        let enforced = self.charges.partition_point(|charge| charge.is_enforced);
        let parts = self.charges.split_at_mut_checked(enforced);
        parts.unwrap_or_default()
    }

    /// Returns the admission with these charges.
    #[cfg(test)]
    pub(crate) fn of(charges: Vec<Charge>) -> Self {
        Self {
            charges,
            ..Self::default()
        }
    }

    /// Returns the charge to a counter.
    pub(super) fn charge(&self, counter: CounterId) -> Option<&Charge> {
        charge::find(&self.charges, counter)
    }
}
