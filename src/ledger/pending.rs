//! A check that waits for a rate limit service.

use super::admission::{Admission, RemoteReservation, Verdict};
use super::charge::CounterId;
use super::service::Service;
use filter_config::LimitIndex;
use limits::Timestamp;
use limits::service::{CallId, CheckError, CheckRequest, CheckResult, LeaseHold, Reply};

/// The result of a check.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and a box would be an allocation for each request"
)]
pub(crate) enum Check {
    /// The request is decided on.
    Decided(Verdict),
    /// The rate limit service decides on it.
    Pending(Box<PendingCheck>),
}

/// A check that waits for a rate limit service.
#[derive(Debug)]
pub(crate) struct PendingCheck {
    pub(super) admission: Admission,
    pub(super) calls: Vec<PendingCall>,
    /// The stream that waits.
    stream: u32,
}

/// A call of a check.
#[derive(Debug)]
pub(super) struct PendingCall {
    /// The check.
    pub(super) request: CheckRequest,
    /// The counters that it is about.
    pub(super) counters: Vec<CounterId>,
    /// The limits of the descriptors, where each has one of its own.
    pub(super) limits: Vec<LimitIndex>,
    /// Whether the limits are enforced; others only count and report.
    pub(super) is_enforced: bool,
    /// What this worker holds of its lease of the counters. The call reserves the rest; there is no call without one.
    pub(super) lease: Option<LeaseHold>,
    /// The call, once it was started.
    pub(super) call: Option<CallId>,
    /// Its result.
    pub(super) result: Option<CheckResult>,
    /// Whether it was not made because the service has too many to reply to.
    pub(super) is_saturated: bool,
}

// === impl PendingCall ===

impl PendingCall {
    /// Returns the counters of a call that was not made, or has no reply.
    pub(super) fn unchecked(self) -> Option<RemoteReservation> {
        Some(RemoteReservation {
            counter: self.counters.first().copied()?,
            descriptors: self.request.descriptors,
            reservation: None,
            lease: self.lease,
            added: 0,
            charged_until: None,
        })
    }

    /// Returns the counters of a call, with what the reply granted. `adds` says whether a check adds a hit
    /// itself.
    pub(super) fn checked(self, adds: bool) -> Option<RemoteReservation> {
        let reply = self.reply();
        let reservation = reply.and_then(|reply| reply.reservation.clone());
        // A service that does not report the standing of descriptors does not support checks without
        // hits.
        let added = adds && reply.is_some_and(|reply| reply.statuses.is_empty());
        Some(RemoteReservation {
            reservation,
            added: added.into(),
            ..self.unchecked()?
        })
    }

    /// Returns whether the call waits for its reply.
    pub(super) fn is_open(&self) -> bool {
        self.call.is_some() && self.result.is_none()
    }

    /// Returns the reply, if there is one.
    pub(super) fn reply(&self) -> Option<&Reply> {
        match &self.result {
            Some(CheckResult::Reply(reply)) => Some(reply),
            _ => None,
        }
    }
}

// === impl PendingCheck ===

impl PendingCheck {
    pub(super) fn new(admission: Admission, calls: Vec<PendingCall>, stream: u32) -> Self {
        Self {
            admission,
            calls,
            stream,
        }
    }

    /// Starts all calls that are needed.
    pub(super) fn send_all(&mut self, service: &Service, now: Timestamp) {
        if self.calls.iter().all(|it| it.result.is_some()) {
            service.client.admitted_by_lease();
        }
        for index in 0..self.calls.len() {
            if self.calls.get(index).is_some_and(|it| it.result.is_none()) {
                self.send(service, now, index);
            }
        }
    }

    /// Starts a call.
    pub(super) fn send(&mut self, service: &Service, now: Timestamp, index: usize) {
        let Some(pending) = self.calls.get_mut(index) else {
            return;
        };
        let trace = &self.admission.trace;
        let client = &service.client;
        let call = client.check(now, self.stream, &pending.request, trace);
        pending.is_saturated = call == Err(CheckError::Saturated);
        pending.call = call.ok();
        pending.result = pending.call.is_none().then_some(CheckResult::Failed);
    }
}
