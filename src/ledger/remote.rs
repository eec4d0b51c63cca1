//! Checks and settlements where a rate limit service has the counters.

use super::admission::{Admission, Demands, RemoteReservation, Verdict};
use super::authority::Authority;
use super::charge::{self, Charge, Stage};
use super::error::LedgerError;
use super::groups;
use super::pending::{Check, PendingCall, PendingCheck};
use super::service::Service;
use super::store::Ledger;
use super::trace;
use crate::host::Headers;
use filter_config::RemoteFailureMode;
use limits::Timestamp;

// === impl Ledger ===

impl Ledger {
    /// Checks a request at the service, or by this Envoy's own count where the service's circuit is
    /// open or no stream can wait.
    pub(super) fn check_remote(
        &self,
        service: &Service,
        demands: Demands,
        headers: &Headers,
        stream: Option<u32>,
    ) -> Result<Check, LedgerError> {
        let client = &service.client;
        let now = self.host.now()?;
        let (mut admission, values) = Admission::new(demands);
        let (enforced, _) = admission.split_mut();
        let is_open =
            client.is_circuit_open() && enforced.iter().any(Charge::is_counted_by_service);
        let authority = match service.failure_mode {
            RemoteFailureMode::Deny if is_open => return Err(LedgerError::ServiceUnavailable),
            RemoteFailureMode::Allow if is_open => Authority::None,
            RemoteFailureMode::Local if is_open => Authority::Full,
            _ if stream.is_none() => Authority::Full,
            _ if client.reserves() => Authority::None,
            _ => Authority::Concurrent,
        };
        match self.or_failure_mode(self.reserve_with(authority, now, enforced))? {
            Some(None) => {}
            Some(Some(rejection)) => {
                let verdict = Verdict::rejected(rejection, admission.charges);
                return Ok(Check::Decided(verdict));
            }
            // The service still knows what it has counted.
            None => admission.failed_open = true,
        }
        self.reserve_all_reported(now, &mut admission);
        admission.failed_open |= is_open && authority == Authority::None;
        let ttl = charge::ttl(&admission.charges);
        let calls = groups::calls(&self.policies, service, &admission, &values, (now, ttl));
        if self.top.is_some() {
            admission.tracked = values;
        }
        let stream = match stream {
            Some(stream) if !calls.is_empty() && !client.is_circuit_open() => stream,
            _ => {
                let unchecked = calls.into_iter().filter_map(PendingCall::unchecked);
                admission.remote = unchecked.collect();
                self.count_request_remote(service, now, &mut admission);
                return Ok(Check::Decided(Verdict::Admitted(admission)));
            }
        };
        admission.trace = trace::trace(headers);
        let mut pending = PendingCheck::new(admission, calls, stream);
        pending.send_all(service, now);
        pending.decide(self, service, now)
    }

    /// Counts an admitted request where requests are counted, at the service and here.
    pub(super) fn count_request_remote(
        &self,
        service: &Service,
        now: Timestamp,
        admission: &mut Admission,
    ) {
        let Admission {
            charges,
            remote,
            trace,
            ..
        } = admission;
        let counts_requests = |reservation: &RemoteReservation| {
            charge::find(charges, reservation.counter).is_some_and(Charge::counts_requests)
        };
        for mut reservation in remote.extract_if(.., |reservation| counts_requests(reservation)) {
            Self::settle_reservation(service, now, &mut reservation, 1, trace);
        }
        self.count_request(now, admission);
    }

    /// Records the cost of an exchange at the service, and releases what it reserved there.
    pub(super) fn settle_remote(&self, now: Timestamp, admission: &mut Admission, stage: Stage) {
        let Some(service) = &self.service else {
            return;
        };
        let Admission {
            charges,
            remote,
            trace,
            ..
        } = admission;
        for reservation in remote.iter_mut() {
            let charge = charge::find(charges, reservation.counter);
            let cost = charge.map_or(0, |charge| charge.counter.cost);
            Self::settle_reservation(service, now, reservation, cost, trace);
        }
        if stage == Stage::End {
            remote.clear();
            return;
        }
        // A set may have rates with several windows: none keeps a credit beyond its end.
        let counted = charges
            .iter()
            .filter(|charge| charge.is_counted_by_service());
        let ends = counted.map(|charge| charge.counter.standing.resets_at);
        let until = ends.min().unwrap_or_default();
        for reservation in remote {
            reservation.charged_until = Some(until);
        }
    }

    /// Returns what this Envoy has seen used of a counter that the service has; `None` where this
    /// Envoy's own count decides, or cannot be read.
    #[must_use]
    pub(crate) fn used_at_service(&self, charge: &Charge) -> Option<u64> {
        let service = self.service.as_ref()?;
        if service.client.is_circuit_open() || !charge.is_counted_by_service() {
            return None;
        }
        let now = self.host.now().ok()?;
        let mut probe = *charge;
        probe.counter.amount = 0;
        self.reserve(now, std::slice::from_mut(&mut probe)).ok()?;
        Some(probe.counter.standing.used)
    }

    fn settle_reservation(
        service: &Service,
        now: Timestamp,
        reservation: &mut RemoteReservation,
        cost: u64,
        trace: &trace::Trace,
    ) {
        let RemoteReservation {
            descriptors,
            reservation,
            lease,
            added,
            charged_until,
            ..
        } = reservation;
        let client = &service.client;
        let reservation = reservation.take();
        let missing = cost.saturating_sub(*added);
        let missing = match lease {
            // What was reserved for the exchange itself is committed by the call that releases it.
            Some(lease) if reservation.is_some() => missing.saturating_add(lease.settle(0)),
            Some(lease) => lease.settle(missing),
            None => missing,
        };
        client.settle(now, descriptors, reservation, missing, trace);
        if let Some(until) = *charged_until {
            let excess = added.saturating_sub(cost);
            let excess = match lease {
                // What a lease has counted was used in this window.
                Some(lease) if now < until => lease.credit(excess),
                _ => excess,
            };
            client.credit(now, descriptors, excess, until);
        }
        *added = cost.max(*added);
    }
}
