//! What is reported of an exchange at its end.

use super::machine::{ExchangeOutcome, Stream};
use super::parts::Parts;
use super::state::State;
use crate::ledger::{Charge, Rejection, RejectionDetails};
use crate::policies::Policies;
use crate::settle;
use crate::telemetry::{AppliedLimit, Decision, ExchangeRecord, cut};
use limits::{Standing, Timestamp};
use std::borrow::Cow;

/// The longest reason, in bytes.
const MAX_REASON_BYTES: usize = 1024;

// === impl ExchangeOutcome ===

impl ExchangeOutcome {
    /// Takes note of why the request is rejected or has no decision: as much as is reported, without control characters.
    pub(super) fn note_reason(&mut self, reason: &str) {
        let reason = cut(reason, MAX_REASON_BYTES);
        self.reason = Some(reason.replace(char::is_control, " ").into());
    }

    /// Takes note of a rejection by a limit, and of the others that apply.
    pub(super) fn note_rejection(
        &mut self,
        policies: &Policies,
        rejection: &Rejection,
        details: &RejectionDetails,
    ) {
        let charge = &rejection.charge;
        self.note_reason(&applied(charge).describe_rejection(policies));
        let id = charge.id();
        let others = details.charges.iter().filter(|other| other.id() != id);
        self.charges = [charge].into_iter().chain(others).copied().collect();
    }
}

// === impl Stream ===

impl Stream {
    /// Takes note that the exchange ends before its decision, of what it waited for, and of the limit at which it was
    /// queued.
    pub(super) fn note_abandoned(&mut self) {
        self.outcome.decision = Some(Decision::Abandoned);
        let reason = match &self.state {
            State::AwaitingBody(_) => "ended while its body was awaited",
            State::AwaitingService(_) => "ended while the rate limit service was called",
            State::Queued(_) => "ended while it was queued",
            _ => return,
        };
        self.outcome.note_reason(reason);
        if let State::Queued(queued) = &self.state {
            self.outcome.limit = self.limit_of(&queued.rejection);
            let charge = queued.rejection.charge;
            self.note_queued(charge, queued.joined_at);
        }
    }

    /// Takes note of how long the request was queued, and where.
    pub(super) fn note_queued(&mut self, charge: Charge, joined_at: Timestamp) {
        let now = self.parts.ledger.now().unwrap_or(joined_at);
        self.outcome.queued = Some(now.since(joined_at));
        self.outcome.charges = vec![charge];
    }

    /// Reports the exchange, once.
    pub(super) fn report(&self) {
        let Some(decision) = self.outcome.decision else {
            return;
        };
        let Parts {
            policies,
            ledger,
            telemetry,
            ..
        } = &*self.parts;
        ledger.report_occupancy();
        telemetry.memory();
        let outcome = &self.outcome;
        if !decision.is_rejection() && decision != Decision::Abandoned {
            let mut counted = None;
            for charge in &outcome.charges {
                let limit = policies.rate(charge.rate).map(|rate| rate.limit);
                // The rates of a limit are adjacent.
                if let Some(limit) = limit.filter(|_| limit != counted) {
                    telemetry.limit_admitted(limit);
                }
                counted = limit;
            }
            settle::report_used(policies, telemetry, &outcome.charges);
        }
        let provider = self.request.endpoint.as_ref().map(|it| it.provider);
        let fallback = || self.fallback()?.model.as_deref();
        let requested = self.request.model();
        // The name goes into the access log.
        let requested = requested.map(plain);
        let of_rejection = || requested.as_deref().filter(|_| decision.is_rejection());
        let model = outcome.model.as_deref().or_else(fallback);
        let model = model.or_else(of_rejection);
        let applied: Vec<AppliedLimit> = if telemetry.reports_limits(decision) {
            outcome.charges.iter().map(applied).collect()
        } else {
            Vec::new()
        };
        let is_unmatched = decision == Decision::Unmatched;
        let unmatched = (is_unmatched && telemetry.reports_unmatched(provider.is_some()))
            .then(|| outcome.misses.describe(policies));
        let record = ExchangeRecord {
            decision,
            limit: outcome.limit,
            failed: outcome.failed,
            usage: outcome.usage.map(|metered| metered.usage),
            is_estimated: outcome.usage.is_some_and(|metered| metered.is_estimated),
            usd: outcome.usd,
            model,
            requested_model: requested.as_deref().filter(|it| model != Some(it)),
            provider,
            applied: &applied,
            reason: outcome.reason.as_deref().or(unmatched.as_deref()),
            queued: outcome.queued,
        };
        telemetry.exchange(policies, &record);
    }
}

/// Returns a name without control characters.
fn plain(name: &str) -> Cow<'_, str> {
    if name.contains(char::is_control) {
        Cow::Owned(name.replace(char::is_control, "_"))
    } else {
        Cow::Borrowed(name)
    }
}

/// Returns the limit of a charge.
fn applied(charge: &Charge) -> AppliedLimit {
    let counter = &charge.counter;
    let standing = counter.standing;
    AppliedLimit {
        rate: charge.rate,
        // One that was not read has nothing at all.
        standing: (standing != Standing::default()).then_some(standing),
        limit: if standing.limit > 0 {
            standing.limit
        } else {
            counter.limit
        },
        window: counter.rate.window().length,
    }
}
