//! The response of an exchange: it is metered as it passes.

use super::chargeable::Chargeable;
use super::head::status;
use super::machine::{Next, Stream};
use super::state::{Admitted, Deferral, Metering, Phase, State};
use crate::host::{Buffer, HeaderMap, Headers};
use crate::memory::Need;
use crate::telemetry::{Decision, Telemetry};
use std::mem;
use usage_meter::{HeaderCounts, Meter, ReportFilter, ResponseHead};

/// The minimum length in bytes of a piece of which only the end may be read.
const MIN_SKIMMED_BYTES: usize = 2 * Meter::TAIL_BYTES;

/// The minimum length in bytes of a piece of which the beginning is read first: of a shorter one, two calls to Envoy
/// more cost more than the bytes.
const MIN_PIECE_WITH_HEAD: usize = 64 * 1024;

/// The next bytes of a response, as they are needed to withhold a report.
#[derive(Debug, Default)]
struct Piece {
    bytes: Vec<u8>,
    /// How many of them, from the first on, are known to have no report.
    searched: usize,
}

// === impl Stream ===

impl Stream {
    /// Takes the response's headers: the upstream's, or those of a local reply.
    pub fn on_response_headers(&mut self, end_of_stream: bool) -> Next {
        self.report_fallback();
        self.report_cap();
        self.outcome.has_response = true;
        if let State::Granting(_) = self.state {
            // The upstream has responded before the body; nothing is granted.
            self.state = State::Done;
        }
        let may_be_metered = !matches!(self.state, State::New | State::Done | State::Metering(_));
        if !may_be_metered && self.report_filter.is_none() {
            return Next::Continue;
        }
        let headers = self.parts.host.headers(HeaderMap::Response);
        let headers = headers.unwrap_or_else(|error| {
            Telemetry::host_call_failed("response headers", error);
            Headers::default()
        });
        if !may_be_metered {
            // A report that was requested before a redirect is withheld, whatever applies after it.
            self.prepare_report_filter(&headers);
            return Next::Continue;
        }
        let status = status(&headers);
        let was_pending = self.state.is_pending();
        match self.state {
            State::Queued(_) => self.on_response_while_queued(status),
            State::AwaitingService(_) => self.on_response_while_pending(status),
            State::AwaitingBody(_) | State::ReadingBody(_) => self.on_early_response(status),
            _ => {}
        }
        if was_pending && self.outcome.decision.is_none() {
            self.outcome.decision = Some(Decision::Abandoned);
        }
        let mut admitted = match mem::replace(&mut self.state, State::Done) {
            State::Admitted(admitted) => admitted,
            other => {
                self.state = other;
                // A response that was replaced by a rejection goes no further.
                let is_rejected = self.outcome.decision.is_some_and(Decision::is_rejection);
                return if is_rejected {
                    Next::Pause
                } else {
                    Next::Continue
                };
            }
        };
        let responder = &self.parts.responder;
        let has_quotas = responder.apply_upstream_headers(&admitted.admission, &headers, status);
        if status == 101 {
            self.annotate(&admitted, has_quotas);
            self.state = State::Upgraded(admitted);
            return Next::Continue;
        }
        self.prepare_report_filter(&headers);
        self.note_acceptance(status);
        let head = ResponseHead {
            status,
            content_type: headers.get("content-type"),
            content_encoding: headers.get("content-encoding"),
            path: self.request.path,
            header_counts: HeaderCounts::read(|name| headers.get(name)),
        };
        self.limit_decoders();
        let mut meter =
            Meter::with_paths(&head, &self.parts.usage_paths, &self.parts.decoder_memory);
        let costs = self.parts.policies.needs().costs.as_ref();
        if !costs.is_some_and(|costs| costs.raw_usage) {
            meter = meter.without_raw_usage();
        }
        let are_used = costs.is_some_and(|costs| costs.response_headers);
        if let Some(retained) = &mut admitted.retained {
            // Without memory for them, a cost that reads the headers has none.
            let is_kept = are_used && self.has_memory(Need::Decision, 0);
            retained.set_response(status, if is_kept { headers } else { Headers::default() });
        }
        let metering = Box::new(Metering {
            admitted,
            meter,
            is_charged: false,
            reported_at: None,
            is_unread: false,
            deferral: Deferral::None,
        });
        self.state = State::Metering(metering);
        // What is known by now is taken off what remains.
        self.charge_by_headers();
        if let State::Metering(metering) = &self.state {
            self.annotate(&metering.admitted, has_quotas);
        }
        if end_of_stream {
            self.end_metering();
        }
        Next::Continue
    }

    /// Adds quota headers and alerts to the response.
    fn annotate(&self, admitted: &Admitted, has_quotas: bool) {
        let endpoint = self.request.endpoint.as_ref();
        let responder = &self.parts.responder;
        responder.annotate(&admitted.admission, endpoint, has_quotas);
    }

    /// Takes the status of a response that begins while the request's body is kept back.
    ///
    /// The upstream has not seen the body, so its response is unlikely to be a completion. One that succeeds
    /// is decided on by what the policies say without the body.
    fn on_early_response(&mut self, status: u16) {
        if !(200..300).contains(&status) {
            self.state = match mem::replace(&mut self.state, State::Done) {
                State::ReadingBody(reading) => State::Admitted(reading.admitted),
                _ => State::Done,
            };
            return;
        }
        // What is held in the stream is put back with the next piece of the body.
        let is_left = mem::take(&mut self.request.left) > 0;
        let next = self.decide_on_body(None, false, Phase::Response);
        if next == Next::Continue && is_left {
            self.resume_request();
        }
    }

    /// Takes a part of the response's body: `size` bytes are at hand, those that were held included. They
    /// are passed on afterwards, unless they end within a usage report that is to be withheld.
    pub fn on_response_body(&mut self, size: usize, end_of_stream: bool) -> Next {
        let reads =
            self.request.chargeable != Chargeable::Nothing || self.request.fetched.is_some();
        let is_metering = reads && matches!(self.state, State::Metering(_));
        if !is_metering && self.report_filter.is_none() {
            if end_of_stream {
                self.end_metering();
            }
            return Next::Continue;
        }
        if is_metering && self.report_filter.is_none() && !self.reads_response(size) {
            return self.stop_metering(end_of_stream);
        }
        let filter = self.report_filter.as_deref();
        let held = filter.map_or(0, ReportFilter::held_bytes);
        let new = size.saturating_sub(held);
        let piece = self.meter_piece(held, new);
        let mut is_reported = true;
        if let State::Metering(metering) = &mut self.state {
            is_reported = metering.meter.usage().is_some();
            if end_of_stream {
                self.end_metering();
            } else {
                self.charge_early();
            }
        }
        let bytes = piece.as_ref().map(|piece| piece.bytes.as_slice());
        self.note_error(bytes.unwrap_or_default(), end_of_stream);
        match piece {
            Some(Piece { bytes, searched }) => {
                self.filter_report(bytes, searched, is_reported, end_of_stream)
            }
            None => Next::Continue,
        }
    }

    /// Meters the `new` bytes that follow those that are `held`. Returns them, or `None` if only their ends were read and
    /// they pass.
    fn meter_piece(&mut self, held: usize, new: usize) -> Option<Piece> {
        let mut first = self.meter_head(held, new);
        let held = held.saturating_add(first.len());
        let new = new.saturating_sub(first.len());
        let tail = self.meter_tail(held, new);
        if let Some(tail) = &tail
            && let State::Metering(metering) = &self.state
        {
            let is_reported = metering.meter.usage().is_some();
            let filter = self.report_filter.as_deref_mut();
            if filter.is_none_or(|filter| filter.push_ends(&first, tail, is_reported)) {
                return None;
            }
        }
        let bytes = match new {
            0 => Ok(Vec::new()),
            _ => self.parts.host.buffer(Buffer::ResponseBody, held, new),
        };
        let is_unread = bytes.is_err();
        let bytes = bytes.unwrap_or_else(|error| {
            Telemetry::host_call_failed("response body", error);
            Vec::new()
        });
        self.limit_decoders();
        if tail.is_none()
            && let State::Metering(metering) = &mut self.state
        {
            metering.is_unread |= is_unread;
            metering.meter.push(&bytes);
        }
        let bytes = if first.is_empty() {
            bytes
        } else {
            first.extend_from_slice(&bytes);
            first
        };
        let searched = tail.map_or(0, |tail| bytes.len().saturating_sub(tail.len()));
        Some(Piece { bytes, searched })
    }

    /// Meters the beginning of a long piece, and returns it, if it is likely that little else has to be read then; no
    /// bytes otherwise.
    fn meter_head(&mut self, held: usize, new: usize) -> Vec<u8> {
        let State::Metering(metering) = &mut self.state else {
            return Vec::new();
        };
        let meter = &mut metering.meter;
        if held > 0 || new < MIN_PIECE_WITH_HEAD || meter.may_skip() || !meter.may_skip_later() {
            return Vec::new();
        }
        let host = &self.parts.host;
        let first = host.buffer(Buffer::ResponseBody, 0, Meter::HEAD_BYTES);
        // What cannot be read is reported with the whole piece.
        let first = first.unwrap_or_default();
        meter.push(&first);
        first
    }

    /// Meters the end of a long piece alone, and returns it; `None` if the whole piece is to be metered.
    fn meter_tail(&mut self, held: usize, new: usize) -> Option<Vec<u8>> {
        let State::Metering(metering) = &mut self.state else {
            return None;
        };
        let meter = &mut metering.meter;
        if new < MIN_SKIMMED_BYTES || !meter.may_skip() {
            return None;
        }
        let skipped = new.saturating_sub(Meter::TAIL_BYTES);
        let start = held.saturating_add(skipped);
        let host = &self.parts.host;
        let tail = host.buffer(Buffer::ResponseBody, start, Meter::TAIL_BYTES);
        tail.ok().filter(|tail| meter.push_tail(skipped, tail))
    }

    /// Takes the response's trailers, which end it.
    pub fn on_response_trailers(&mut self) -> Next {
        self.end_metering();
        if self
            .report_filter
            .as_ref()
            .is_some_and(|filter| filter.held_bytes() > 0)
        {
            // Only what was held is still there to be changed.
            self.filter_report(Vec::new(), 0, true, true);
        }
        Next::Continue
    }

    /// Charges the exchange at the end of its response, if it is being metered.
    pub(super) fn end_metering(&mut self) {
        match mem::replace(&mut self.state, State::Done) {
            State::Metering(metering) => self.end_response(metering, true),
            other => self.state = other,
        }
    }
}
