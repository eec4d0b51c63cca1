//! Internal redirects: a request that Envoy redirects itself runs through all filters again, as another stream.
//!
//! Envoy ends the first stream, with its log callback, before the next one begins. What the filter leaves in filter state
//! that lives as long as the request is all that the next stream has of the first one. Unlike the headers that a redirect
//! adds, no client can set it.

use super::machine::Stream;
use super::redirection::{Passed, Redirection};
use super::state::State;
use crate::host::Headers;
use crate::ledger::Charge;
use crate::telemetry::Telemetry;

/// The filter state, which is declared to live as long as the request.
pub(crate) const KEY: &str = "tollgate.redirected";

/// The header that Envoy adds to a redirected request. A client can send it too, so it proves nothing.
const HINT: &str = "x-envoy-original-url";

/// The details of a stream that was ended for a redirect, or because another filter has started the request anew.
const DETAILS: &[u8] = b"internal_redirect";

// === impl Stream ===

impl Stream {
    /// Finds out whether the request was redirected, if its headers say that it may have been.
    pub(super) fn note_redirect(&mut self, headers: &Headers) {
        if headers.get(HINT).is_some() {
            self.read_redirection();
        }
    }

    /// Removes the counters of requests that have counted this one before it was redirected.
    pub(super) fn remove_counted(&mut self, charges: &mut Vec<Charge>) {
        if !charges.iter().any(Charge::counts_requests) {
            return;
        }
        self.read_redirection();
        if let Redirection::Some(passed) = &mut self.request.redirection {
            let before = charges.len();
            charges.retain(|charge| !(charge.counts_requests() && passed.contains(charge)));
            passed.is_applied |= charges.len() < before;
        }
    }

    fn read_redirection(&mut self) {
        if !matches!(self.request.redirection, Redirection::Unknown) {
            return;
        }
        self.request.redirection = match self.parts.host.property(&[KEY]) {
            Ok(Some(bytes)) => Redirection::Some(Box::new(Passed::read(&bytes))),
            Ok(None) => Redirection::None,
            Err(error) => {
                // The request then counts once more.
                Telemetry::host_call_failed(KEY, error);
                Redirection::None
            }
        };
        if self.request.redirection.has_usage_request() {
            self.report_filter = Some(Box::default());
        }
    }

    /// Returns whether Envoy ends the stream because another one has its request.
    pub(super) fn is_redirected(&self) -> bool {
        let may_be = !self.outcome.has_response || matches!(self.state, State::Metering(_));
        may_be && {
            let details = self.parts.host.property(&["response", "code_details"]);
            details.ok().flatten().as_deref() == Some(DETAILS)
        }
    }

    /// Leaves for the next stream what it has to know of this one.
    pub(super) fn leave_for_redirect(&self) {
        // Read again: another plugin of the chain may have added to it.
        let before = self.parts.host.property(&[KEY]).ok().flatten();
        let mut passed = Passed::read(&before.unwrap_or_default());
        passed.has_usage_request |= self.report_filter.is_some();
        let admitted = match &self.state {
            State::Admitted(admitted) | State::Upgraded(admitted) => Some(&**admitted),
            State::ReadingBody(reading) => Some(&*reading.admitted),
            State::Metering(metering) => Some(&*metering.admitted),
            _ => None,
        };
        let charges = admitted.map(|admitted| admitted.admission.charges.as_slice());
        for charge in charges.unwrap_or_default() {
            if charge.counts_requests() {
                passed.add(charge);
            }
        }
        if passed == Passed::default() {
            return;
        }
        if let Err(error) = self.parts.host.set_filter_state(KEY, &passed.write()) {
            Telemetry::host_call_failed(KEY, error);
        }
    }
}
