//! The decision on a check, by the replies of a rate limit service or without them.

use super::admission::{Admission, RejectionDetails, ResponseHeaders, Verdict};
use super::charge::Rejection;
use super::error::LedgerError;
use super::pending::{Check, PendingCall, PendingCheck};
use super::service::Service;
use super::store::Ledger;
use crate::host::is_header_value;
use crate::telemetry::Count;
use filter_config::{LimitIndex, RemoteFailureMode};
use limits::service::{CheckReply, CheckResult, DescriptorStatus, Protocol, Reply};
use limits::{Nanos, Standing, Timestamp};

/// The most headers of the service that are passed on to a client.
const MAX_HEADERS: usize = 16;

/// The longest name and value of such a header, in bytes.
const MAX_HEADER_BYTES: usize = 512;

// === impl PendingCall ===

impl PendingCall {
    /// Returns the descriptor that has no room according to the reply: its limit, where each limit has a
    /// descriptor of its own, and its status. `None` where there is room.
    fn rejected(&self) -> Option<(Option<LimitIndex>, DescriptorStatus)> {
        let reply = self.reply()?;
        // A check without a hit is rejected as soon as nothing is left.
        let is_exhausted = |status: &DescriptorStatus| {
            status.is_over_limit || (status.limit.is_some() && status.remaining == 0)
        };
        let exhausted = reply.statuses.iter().position(is_exhausted);
        match exhausted {
            Some(position) => {
                let limit = match self.limits.len() {
                    1 => Some(0),
                    _ => position.checked_sub(1),
                };
                let limit = limit.and_then(|limit| self.limits.get(limit));
                let status = reply.statuses.get(position).copied();
                Some((limit.copied(), status.unwrap_or_default()))
            }
            None if reply.is_over_limit => Some((None, DescriptorStatus::default())),
            None => None,
        }
    }

    /// Takes from the lease of the counters what it has room for by now: a slice may have been granted meanwhile, which is
    /// why the service has no room. Returns whether anything was taken; the call is then made for the rest.
    fn take_from_lease(&mut self, now: Timestamp) -> bool {
        let missing = self.request.amount;
        let lease = self.lease.as_mut();
        let taken = lease.map_or(0, |lease| lease.take(now, missing));
        self.request.amount = missing.saturating_sub(taken);
        if taken > 0 {
            self.result = Some(CheckResult::Reply(Reply::default()));
        }
        taken > 0
    }

    /// Returns whether no other request in flight had reserved anything at any of the counters.
    fn is_alone(&self, admission: &Admission) -> bool {
        self.counters.iter().all(|&counter| {
            let charge = admission.charge(counter);
            charge.is_some_and(|charge| charge.counter.standing.reserved == 0)
        })
    }
}

// === impl PendingCheck ===

impl PendingCheck {
    /// Takes a reply of the service, and decides if it was the last.
    ///
    /// # Errors
    /// [`LedgerError`], where there is no reply and the failure mode is to deny.
    pub(crate) fn on_reply(
        mut self: Box<Self>,
        ledger: &Ledger,
        reply: CheckReply,
    ) -> Result<Check, LedgerError> {
        let Some(service) = &ledger.service else {
            return Ok(Check::Pending(self));
        };
        let now = ledger.host.now()?;
        let is_it = |pending: &PendingCall| pending.is_open() && pending.call == Some(reply.call);
        let Some(index) = self.calls.iter().position(is_it) else {
            service.client.release(now, reply);
            return Ok(Check::Pending(self));
        };
        if let Some(pending) = self.calls.get_mut(index) {
            let is_alone = pending.is_alone(&self.admission);
            pending.result = Some(reply.result);
            if pending.result == Some(CheckResult::Retry) {
                if let Some(rejection) = self.concurrent_rejection(service, now, index) {
                    let charges = self.admission.charges.clone();
                    self.abandon(ledger);
                    return Ok(Check::Decided(Verdict::rejected(rejection, charges)));
                }
                self.send(service, now, index);
            } else if pending.rejected().is_some() && pending.take_from_lease(now) {
                if pending.request.amount > 0 {
                    self.send(service, now, index);
                }
            } else if service.client.reserves() && is_alone && pending.rejected().is_some() {
                // A request without others beside it is admitted while anything is left, whatever it
                // is expected to cost.
                let lease = pending.lease.as_ref();
                if lease.is_some_and(|lease| lease.amount() > 0) {
                    pending.result = Some(CheckResult::Reply(Reply::default()));
                } else if pending.request.amount > 1 {
                    pending.request.amount = 1;
                    self.send(service, now, index);
                }
            }
        }
        self.decide(ledger, service, now)
    }

    /// Decides, if every call has its reply.
    pub(super) fn decide(
        mut self,
        ledger: &Ledger,
        service: &Service,
        now: Timestamp,
    ) -> Result<Check, LedgerError> {
        if self.calls.iter().any(PendingCall::is_open) {
            return Ok(Check::Pending(Box::new(self)));
        }
        let response_headers = self.response_headers();
        let enforced = || self.calls.iter().filter(|pending| pending.is_enforced);
        let rejected = enforced().find_map(|pending| Some((pending, pending.rejected()?)));
        if let Some((pending, (limit, status))) = rejected
            && let Some(rejection) = self.rejection(ledger, now, pending, limit, status)
        {
            return Ok(Check::Decided(self.reject(
                ledger,
                rejection,
                response_headers,
            )));
        }
        let has_failed =
            enforced().any(|pending| pending.reply().is_none() && !pending.is_saturated);
        match service.failure_mode {
            RemoteFailureMode::Deny if has_failed => {
                self.abandon(ledger);
                return Err(LedgerError::ServiceUnavailable);
            }
            RemoteFailureMode::Allow if has_failed => self.admission.failed_open = true,
            _ => {}
        }
        // A service that has too many requests to reply to has not failed, in any mode.
        let decides_locally = service.failure_mode == RemoteFailureMode::Local && has_failed
            || enforced().any(|pending| pending.is_saturated);
        if decides_locally && let Some(rejection) = self.local_rejection(now) {
            return Ok(Check::Decided(self.reject(
                ledger,
                rejection,
                response_headers,
            )));
        }
        let adds = service.client.protocol() == Protocol::EnvoyRls;
        let Self {
            mut admission,
            calls,
            ..
        } = self;
        for pending in calls {
            if !pending.is_enforced
                && pending.rejected().is_some()
                && let Some((rate, _)) = pending.counters.first()
                && ledger.policies.is_shadow(*rate)
            {
                let limit = ledger.limit_index(*rate);
                admission.shadow_rejected = limit.or(admission.shadow_rejected);
            }
            admission.remote.extend(pending.checked(adds));
        }
        admission.response_headers = response_headers;
        ledger.count_request_remote(service, now, &mut admission);
        Ok(Check::Decided(Verdict::Admitted(admission)))
    }

    /// Rejects the request.
    fn reject(
        mut self,
        ledger: &Ledger,
        rejection: Rejection,
        headers: ResponseHeaders,
    ) -> Verdict {
        // What is released stands as it does afterwards.
        let charges = self.admission.charges.clone();
        self.abandon(ledger);
        Verdict::Rejected(rejection, RejectionDetails { headers, charges })
    }

    /// Abandons the check: the request is not to be admitted, and nothing stays reserved for it. What
    /// the service still grants is released when the reply arrives.
    pub(crate) fn abandon(&mut self, ledger: &Ledger) {
        for pending in self.calls.drain(..) {
            self.admission.remote.extend(pending.checked(false));
        }
        if ledger.release(&mut self.admission).is_err() {
            // The reservations expire.
            ledger.telemetry.count(Count::StorageErrors);
        }
    }

    /// Admits the request without waiting for outstanding replies. What the service has granted
    /// already is settled with the rest.
    #[must_use]
    pub(crate) fn admit_without_reply(self, ledger: &Ledger) -> Admission {
        let Self {
            mut admission,
            calls,
            ..
        } = self;
        if let Some(service) = &ledger.service {
            let adds = service.client.protocol() == Protocol::EnvoyRls;
            let checked = calls.into_iter().filter_map(|call| call.checked(adds));
            admission.remote = checked.collect();
            let now = ledger.host.now().unwrap_or_default();
            ledger.count_request_remote(service, now, &mut admission);
        }
        admission
    }

    /// Returns the rejection by the service, as far as the reply says: which limit, how much of it, until
    /// when. This Envoy's own count fills the gaps.
    fn rejection(
        &self,
        ledger: &Ledger,
        now: Timestamp,
        pending: &PendingCall,
        limit: Option<LimitIndex>,
        status: DescriptorStatus,
    ) -> Option<Rejection> {
        let counters = pending.counters.iter();
        let charges = counters.filter_map(|&counter| self.admission.charge(counter));
        let candidates = charges.filter(|charge| {
            limit.is_none_or(|limit| ledger.limit_index(charge.rate) == Some(limit))
        });
        // Of several it is likely the one that this Envoy has seen exhausted, else the shortest.
        let charge = candidates.min_by_key(|charge| {
            let counter = &charge.counter;
            let is_left = counter.standing.used < counter.limit;
            (is_left, counter.rate.window().length)
        })?;
        let mut charge = *charge;
        let known = charge.counter.standing;
        let reserves = ledger.service.as_ref();
        let reserves = reserves.is_some_and(|service| service.client.reserves());
        let is_unexplained = status == DescriptorStatus::default();
        if reserves && is_unexplained && known.is_only_reserved() && !charge.fits() {
            // What this Envoy has reserved is enough of a reason: there may be room as soon as it is settled.
            charge.counter.standing.resets_at = now;
            return Some(Rejection { charge, now });
        }
        let window = charge.counter.rate.window().length;
        let resets_at = match status.resets_in {
            Some(resets_in) => now.saturating_add(resets_in),
            None if known.used > 0 && known.resets_at > now => known.resets_at,
            // Others have begun the window: it ends at any time.
            None => now.saturating_add(window.min(Nanos::MINUTE)),
        };
        let limit = status.limit.map_or(charge.counter.limit, u64::from);
        charge.counter.standing = Standing {
            limit,
            used: limit,
            reserved: known.reserved,
            resets_at,
        };
        Some(Rejection { charge, now })
    }

    /// Returns the rejection of a request that does not fit beside others in flight, where the service turns out
    /// not to reserve: it is checked as if that had been known when it came.
    fn concurrent_rejection(
        &self,
        service: &Service,
        now: Timestamp,
        index: usize,
    ) -> Option<Rejection> {
        let pending = self.calls.get(index)?;
        if service.client.reserves() || !pending.is_enforced {
            return None;
        }
        let counters = pending.counters.iter();
        let mut charges = counters.filter_map(|&counter| self.admission.charge(counter));
        let charge = charges.find(|charge| {
            let is_alone = charge.counter.standing.reserved == 0;
            charge.is_counted_by_service() && !is_alone && !charge.fits()
        });
        charge.map(|&charge| Rejection { charge, now })
    }

    /// Returns the rejection by this Envoy's own count, where there is no reply.
    fn local_rejection(&self, now: Timestamp) -> Option<Rejection> {
        let enforced = self.calls.iter().filter(|pending| pending.is_enforced);
        let counters = enforced.flat_map(|pending| &pending.counters);
        let mut charges = counters.filter_map(|&counter| self.admission.charge(counter));
        let charge = charges.find(|charge| charge.is_counted_by_service() && !charge.fits());
        charge.map(|&charge| Rejection { charge, now })
    }

    /// Returns the headers that the service adds to the response, as far as they are valid and about quotas.
    fn response_headers(&self) -> ResponseHeaders {
        let mut headers = ResponseHeaders::new();
        let enforced = self.calls.iter().filter(|pending| pending.is_enforced);
        let replies = enforced.filter_map(PendingCall::reply);
        for (name, value) in replies.flat_map(|reply| &reply.headers) {
            let Ok(name) = str::from_utf8(name) else {
                continue;
            };
            let name = name.to_ascii_lowercase();
            let is_quota = name.starts_with("x-ratelimit-")
                || name.starts_with("ratelimit")
                || name.starts_with("retry-after");
            let is_token =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if is_quota
                && name.bytes().all(is_token)
                && name.len() <= MAX_HEADER_BYTES
                && value.len() <= MAX_HEADER_BYTES
                && is_header_value(value)
                && headers.len() < MAX_HEADERS
            {
                headers.retain(|(known, _)| *known != name);
                headers.push((name, value.clone()));
            }
        }
        headers
    }
}
