//! The stream: its progress, its state, and its end.

use super::chargeable::Chargeable;
use super::parts::Parts;
use super::progress::RequestProgress;
use super::state::{Admitted, State};
use super::usage_support::Attempt;
use crate::admit::Misses;
use crate::host::Direction;
use crate::ledger::Charge;
use crate::settle::{self, MeteredUsage};
use crate::telemetry::{Decision, FailedPart, Telemetry};
use filter_config::{LimitIndex, OnMissing, Usd};
use limits::Nanos;
use std::mem;
use std::rc::Rc;
use usage_meter::ReportFilter;
use usage_meter::request::Endpoint;

/// What Envoy does after a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Passes on what it has.
    Continue,
    /// Keeps it, and what follows, until it is resumed or calls back again.
    Pause,
    /// Keeps it, and accepts no more than fits, until it is resumed. Only for bodies.
    Watermark,
}

/// One HTTP exchange.
pub struct Stream {
    pub(super) parts: Rc<Parts>,
    /// Envoy's identifier of the stream's context.
    pub(super) id: u32,
    pub(super) state: State,
    pub(super) request: RequestProgress,
    /// Takes the usage report that the filter has requested out of the response.
    pub(super) report_filter: Option<Box<ReportFilter>>,
    /// Finds out whether the upstream accepts that usage is requested, until it has responded.
    pub(super) attempt: Option<Box<Attempt>>,
    pub(super) outcome: ExchangeOutcome,
}

/// What became of an exchange, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct ExchangeOutcome {
    pub(super) decision: Option<Decision>,
    /// The limit that decided.
    pub(super) limit: Option<LimitIndex>,
    /// The position of the fallback that was taken, among those of that limit.
    pub(super) fallback: Option<usize>,
    /// The bound on output, of each choice, to which a hard limit has lowered that of the request.
    pub(super) capped: Option<u64>,
    /// The usage that was charged.
    pub(super) usage: Option<MeteredUsage>,
    /// The cost of the usage, where there are prices.
    pub(super) usd: Option<Usd>,
    /// The model that the response names.
    pub(super) model: Option<Box<str>>,
    /// Whether a part of the response was not read.
    pub(super) is_unread: bool,
    /// Whether the response has begun.
    pub(super) has_response: bool,
    /// The counters of all limits that applied, once it is settled or rejected.
    pub(super) charges: Vec<Charge>,
    /// The limits that do not apply.
    pub(super) misses: Misses,
    /// The part that failed, if the decision is `failed`.
    pub(super) failed: FailedPart,
    /// Why it was rejected or has no decision.
    pub(super) reason: Option<Box<str>>,
    /// How long it was queued.
    pub(super) queued: Option<Nanos>,
}

// === impl Stream ===

impl Stream {
    /// Returns an exchange that is about to begin.
    #[must_use]
    pub(crate) fn new(parts: Rc<Parts>, id: u32) -> Self {
        Self {
            parts,
            id,
            state: State::New,
            request: RequestProgress::default(),
            report_filter: None,
            attempt: None,
            outcome: ExchangeOutcome::default(),
        }
    }

    /// Ends the exchange, however it ended.
    pub fn on_log(&mut self) {
        self.note_error(&[], true);
        let is_redirected = self.is_redirected();
        if is_redirected {
            self.leave_for_redirect();
        }
        if self.state.is_pending() {
            self.note_abandoned();
        }
        match mem::replace(&mut self.state, State::Done) {
            State::Metering(metering) => self.end_response(metering, false),
            State::AwaitingService(mut awaiting) => awaiting.check.abandon(&self.parts.ledger),
            State::Admitted(admitted) => self.end_without_response(*admitted),
            State::ReadingBody(reading) => self.end_without_response(*reading.admitted),
            State::Upgraded(admitted) => self.charge_unmetered(*admitted, None),
            State::Queued(mut queued) => self.leave_queue(&mut queued),
            State::New | State::AwaitingBody(_) | State::Granting(_) | State::Done => {}
        }
        // The exchange that the request ends with is reported.
        if !is_redirected {
            self.report();
        }
    }

    /// Ends an admitted exchange without a response. A client that has sent a whole request and
    /// disconnects before the response has caused the upstream to work nevertheless.
    fn end_without_response(&mut self, admitted: Admitted) {
        self.request.update_parameters();
        let usage = &self.parts.policies.configuration().usage;
        let is_charged = usage.on_missing == OnMissing::Estimate
            && self.request.chargeable == Chargeable::Usage
            && self.request.has_whole_body()
            && self.client_disconnected();
        let usage = is_charged.then(|| {
            let estimator = &self.parts.estimator;
            let now = self.parts.host.now().unwrap_or_default();
            let endpoint = self.request.endpoint.as_ref();
            let elapsed = admitted.admission.elapsed(now);
            let elapsed = elapsed.filter(|_| endpoint.is_some_and(Endpoint::generates_text));
            let size = self
                .request
                .size(estimator, None, elapsed.unwrap_or_default());
            settle::estimate(estimator, &size, 0)
        });
        self.charge_unmetered(admitted, usage);
    }

    /// Returns whether the client has ended the exchange.
    fn client_disconnected(&self) -> bool {
        let details = self.parts.host.property(&["response", "code_details"]);
        let details = details.ok().flatten().unwrap_or_default();
        // Codecs report resets by the client as `http2.remote_reset`; what an upstream does begins
        // with `upstream_`.
        [b"downstream_".as_slice(), b"http1.", b"http2.", b"http3."]
            .iter()
            .any(|start| details.starts_with(start))
    }

    /// Resumes the request, which was paused.
    pub(super) fn resume_request(&self) {
        if let Err(error) = self.parts.host.resume(Direction::Request) {
            Telemetry::host_call_failed("resume", error);
        }
    }
}
