//! The body of a request: it is read as it passes, and held while the decision needs it.
//!
//! A body is held in the stream rather than in Envoy's buffer, whose bound the filter does not know:
//! each piece is taken out, and the whole body is put in at the end. An empty buffer cannot be filled when
//! trailers end the request, so a small body that may have trailers stays in it.

use super::access::Access;
use super::body_location::BodyLocation;
use super::head::{is_encoded, is_grpc, is_json};
use super::held_body::WholeBody;
use super::machine::{Next, Stream};
use super::parts::Parts;
use super::state::{AwaitingBody, Phase, ReadingBody, State};
use crate::admit::AdmissionError;
use crate::attributes::{Attributes, Body};
use crate::host::{Buffer, HeaderMap, Headers, HostError};
use crate::memory::{Need, Share, measured};
use crate::telemetry::Telemetry;
use std::mem;
use std::rc::Rc;
use usage_meter::request::BodyReader;

/// How much of a body stays in Envoy's buffer where only there it can be changed after its end: because
/// trailers end it, or a rate limit service is awaited.
const MAX_IN_ENVOY: usize = 256 * 1024;

/// How much of a body that may have trailers stays in Envoy's buffer, whose bound is rarely lower. Larger
/// bodies rarely have any.
const MAX_BEFORE_TRAILERS: usize = 16 * 1024;

// === impl Stream ===

impl Stream {
    /// Prepares to read the body of a request.
    pub(super) fn begin_body(&mut self, headers: &Headers) {
        let pointers = &self.parts.policies.needs().body;
        let reader = BodyReader::new(headers.get("content-type"), pointers);
        self.request.reader = Some(Box::new(reader));
        let length = self.request.content_length;
        self.request.body_location = BodyLocation::of(&*self.parts.host, headers, length);
    }

    /// Takes a part of the request's body: `size` bytes are at hand, those that were left in Envoy's
    /// buffer included.
    pub fn on_request_body(&mut self, size: usize, end_of_stream: bool) -> Next {
        self.request.has_ended |= end_of_stream;
        if let State::Granting(_) = self.state {
            return self.on_grant_body(size, end_of_stream);
        }
        if self.request.body_has_ended {
            // What remains is the end of the stream.
            return self.pass_on();
        }
        let start = mem::take(&mut self.request.left).min(size);
        let length = size.saturating_sub(start);
        self.request.bytes = self.request.bytes.saturating_add(length as u64);
        let is_awaited = matches!(self.state, State::AwaitingBody(_) | State::ReadingBody(_));
        if !is_awaited && self.request.reader.is_none() && self.request.held.is_empty() {
            return self.pass_on();
        }
        let is_whole =
            self.request.has_ended || self.request.content_length == Some(self.request.bytes);
        self.request.body_has_ended = is_whole;
        let need = if is_awaited {
            Need::Decision
        } else {
            Need::Estimate
        };
        // A piece is copied once where it is held.
        let has_memory = self.has_memory(need, length.saturating_mul(2));
        if !has_memory
            || (self.request.reader.is_some() && Share::Values.room(self.parts.memory) == 0)
        {
            return self.stop_reading(is_awaited);
        }
        let piece = match self.at_hand(start, length) {
            Ok(piece) => piece,
            Err(error) => return self.on_unreadable_body(error),
        };
        let max = self.parts.policies.configuration().request_body.max_bytes as u64;
        if is_awaited && self.request.bytes > max {
            return self.on_excess(&piece, max);
        }
        self.read(&piece);
        match (is_awaited, is_whole) {
            (true, true) => self.on_whole_body(start, size, piece),
            (true, false) => self.on_awaited_piece(size, piece),
            (false, _) => {
                if is_whole {
                    self.request.end_reading();
                }
                let next = self.pass_on();
                if next == Next::Continue
                    && let Err(error) = self.release_held()
                {
                    Telemetry::host_call_failed("request body", error);
                }
                next
            }
        }
    }

    /// Takes the request's trailers, which end it.
    pub fn on_request_trailers(&mut self) -> Next {
        self.request.has_ended = true;
        self.request.body_has_ended = true;
        match self.state {
            State::Granting(_) => self.answer_error(400, "the request has trailers"),
            State::AwaitingBody(_) | State::ReadingBody(_) => {
                let left = mem::take(&mut self.request.left);
                if !self.request.held.is_empty() {
                    // Envoy would pass on the request without what was taken out of its buffer.
                    return self.fail_unchangeable(HostError::BadArgument);
                }
                match self.on_whole_body(left, left, Vec::new()) {
                    Next::Watermark => Next::Pause,
                    next => next,
                }
            }
            State::Queued(_) | State::AwaitingService(_) => Next::Pause,
            _ => {
                self.request.end_reading();
                Next::Continue
            }
        }
    }

    fn read(&mut self, piece: &[u8]) {
        if let Some(reader) = &mut self.request.reader {
            let ((), bytes) = measured(|| reader.push(piece));
            self.request.kept.add_values(bytes);
        }
    }

    /// Takes a piece of an awaited body that exceeds what may be held: however the body is cut into pieces, the
    /// request is decided on by its first `max` bytes.
    fn on_excess(&mut self, piece: &[u8], max: u64) -> Next {
        let excess = self.request.bytes.saturating_sub(max);
        let excess = usize::try_from(excess).unwrap_or(usize::MAX);
        let within = piece.len().saturating_sub(excess);
        let (within, rest) = piece.split_at_checked(within).unwrap_or((piece, &[]));
        self.read(within);
        if let Err(error) = self.release_held() {
            return self.fail_unchangeable(error);
        }
        let next = self.decide_on_body(None, false, Phase::Body);
        self.read(rest);
        if self.request.body_has_ended {
            self.request.end_reading();
        }
        next
    }

    /// Returns what Envoy does with a part of a body that is not awaited.
    pub(super) fn pass_on(&mut self) -> Next {
        match &mut self.state {
            State::AwaitingService(awaiting) => {
                awaiting.reads_body = false;
                self.wait_with_body()
            }
            State::Queued(_) => self.wait_with_body(),
            _ => Next::Continue,
        }
    }

    /// Returns how a request waits while its body, or the beginning of it, is in Envoy's buffer: without the
    /// bound of that buffer, unless the body may change when the wait is over.
    pub(super) fn wait_with_body(&self) -> Next {
        if self.parts.ledger.is_remote() && self.may_change_body() {
            Next::Pause
        } else {
            Next::Watermark
        }
    }

    /// Returns whether a fallback or a hard limit may change the body. While a rate limit service is awaited, that is
    /// possible in Envoy's buffer only.
    pub(super) fn may_change_body(&self) -> bool {
        let is_small = self.request.bytes <= MAX_IN_ENVOY as u64;
        self.request.body_has_ended
            && self.parts.policies.needs().changes
            && (is_small || !self.parts.ledger.is_remote())
    }

    /// Returns `length` bytes of Envoy's buffer from `start` on.
    fn at_hand(&self, start: usize, length: usize) -> Result<Vec<u8>, HostError> {
        match length {
            0 => Ok(Vec::new()),
            _ => self.parts.host.buffer(Buffer::RequestBody, start, length),
        }
    }

    /// Takes a piece of an awaited body that is not the last: holds it, passes it on, or decides by what
    /// is known.
    fn on_awaited_piece(&mut self, size: usize, piece: Vec<u8>) -> Next {
        let Parts {
            policies, memory, ..
        } = &*self.parts;
        let worker_bytes = policies.configuration().request_body.worker_bytes;
        let is_held = match &self.state {
            State::AwaitingBody(awaiting) if is_grpc(awaiting.attributes.headers()) => {
                // A client that streams both ways may wait for a response to its first message.
                !matches!(piece.first(), Some(0 | 1)) || !self.request.held.is_empty()
            }
            State::ReadingBody(_) if !self.may_request_usage() => return Next::Continue,
            _ => true,
        };
        let is_held = is_held
            && self
                .request
                .held
                .reserve(piece.len(), worker_bytes, *memory);
        let max_left = match self.request.body_location {
            BodyLocation::Stream => 0,
            BodyLocation::EnvoyFirst => MAX_BEFORE_TRAILERS,
            BodyLocation::Envoy => MAX_IN_ENVOY,
        };
        if is_held && size <= max_left {
            self.request.left = size;
            return Next::Pause;
        }
        if !is_held || self.request.body_location == BodyLocation::Envoy {
            return match self.release_held() {
                Ok(()) => self.decide_on_body(None, false, Phase::Body),
                Err(error) => self.fail_unchangeable(error),
            };
        }
        // All that was left in Envoy's buffer is taken out of it.
        let piece = match size.checked_sub(piece.len()) {
            None | Some(0) => Ok(piece),
            Some(_) => self.at_hand(0, size),
        };
        let host = &self.parts.host;
        let taken = piece.and_then(|piece| {
            host.replace_buffer(Buffer::RequestBody, &[])?;
            Ok(piece)
        });
        match taken {
            Ok(piece) => {
                self.request.body_location = BodyLocation::Stream;
                self.request.held.push(piece);
                self.parts.telemetry.memory();
                Next::Watermark
            }
            Err(error) => self.on_unreadable_body(error),
        }
    }

    /// Puts what is held into Envoy's buffer, before the piece that is there already.
    pub(super) fn release_held(&mut self) -> Result<(), HostError> {
        let pieces = mem::take(&mut self.request.held).into_pieces();
        let host = &self.parts.host;
        let mut pieces = pieces.into_iter().rev();
        pieces.try_for_each(|piece| host.prepend_to_buffer(Buffer::RequestBody, &piece))
    }

    /// Puts what is held into Envoy's buffer, before the last piece, which is there already. Returns all
    /// of it.
    fn put_back(&mut self, last: Vec<u8>) -> Result<WholeBody, HostError> {
        let held = mem::take(&mut self.request.held);
        let was_held = !held.is_empty();
        let body = held.join(last);
        if was_held {
            let host = &self.parts.host;
            host.replace_buffer(Buffer::RequestBody, &body.bytes)?;
        }
        Ok(body)
    }

    /// Takes the last piece of an awaited body. Of `size` bytes in Envoy's buffer, the first `start` were
    /// left there.
    fn on_whole_body(&mut self, start: usize, size: usize, piece: Vec<u8>) -> Next {
        let piece = match start {
            0 => Ok(piece),
            _ => self.at_hand(0, size),
        };
        let is_joined = self.request.held.is_empty() || self.is_joined();
        let body = piece.and_then(|piece| {
            if is_joined {
                self.put_back(piece).map(Some)
            } else {
                self.release_held().map(|()| None)
            }
        });
        match body {
            Ok(body) => self.decide_on_body(body, true, Phase::Body),
            Err(error) => self.fail_unchangeable(error),
        }
    }

    /// Writes another body in place of a request's, whose headers are these. The length precedes the body: a body that
    /// does not match its length is worse than one that is not changed.
    ///
    /// # Errors
    /// [`HostError`] when Envoy fails.
    pub(super) fn write_body(&self, headers: &Headers, body: &[u8]) -> Result<(), HostError> {
        let host = &*self.parts.host;
        if headers.get("content-length").is_some() {
            let mut length = itoa::Buffer::new();
            let length = length.format(body.len()).as_bytes();
            host.set_header(HeaderMap::Request, "content-length", length)?;
        }
        host.replace_buffer(Buffer::RequestBody, body)
    }

    /// Returns whether a held body is joined, because it may be changed and there is memory for that: for the body as
    /// it was, and as it becomes.
    fn is_joined(&self) -> bool {
        let is_checked = !self.parts.policies.configuration().access.is_empty();
        let need = if self.may_change_body() || is_checked {
            Need::Decision
        } else if self.may_request_usage() {
            Need::Estimate
        } else {
            return false;
        };
        let bytes = usize::try_from(self.request.bytes).unwrap_or(usize::MAX);
        self.has_memory(need, bytes.saturating_mul(2))
    }

    /// Handles a body that cannot be read from Envoy's buffer: the rest of it is unknown.
    fn on_unreadable_body(&mut self, error: HostError) -> Next {
        self.request.reader = None;
        if self.request.held.is_empty() {
            Telemetry::host_call_failed("request body", error);
            self.decide_on_body(None, false, Phase::Body)
        } else {
            self.fail_unchangeable(error)
        }
    }

    /// Rejects a request whose body cannot be put back into Envoy's buffer.
    pub(super) fn fail_unchangeable(&mut self, error: HostError) -> Next {
        self.request.held = super::held_body::HeldBody::default();
        if let State::ReadingBody(reading) = mem::replace(&mut self.state, State::Done) {
            self.charge_unmetered(*reading.admitted, None);
        }
        self.fail(&AdmissionError::Unchangeable(error))
    }

    /// Decides on a request, unless it was admitted already, by its body as far as it was read. `body` is
    /// given if all of it is at hand.
    pub(super) fn decide_on_body(
        &mut self,
        body: Option<WholeBody>,
        is_whole: bool,
        phase: Phase,
    ) -> Next {
        if is_whole && let Some(reader) = &mut self.request.reader {
            reader.finish();
        }
        self.request.update_parameters();
        let length = self.request.declared_bytes().max(Some(self.request.bytes));
        match mem::replace(&mut self.state, State::Done) {
            State::AwaitingBody(awaiting) => {
                let AwaitingBody {
                    mut attributes,
                    applicable,
                } = *awaiting;
                self.take_body(&mut attributes, is_whole);
                match self.access(&mut attributes, body.as_ref()) {
                    Ok(Access::Allowed) => {}
                    Ok(Access::Forbidden(rule)) => return self.forbid(rule),
                    // Not reached: nothing more is known later.
                    Ok(Access::AwaitsBody) => return self.forbid(0),
                    Err(error) => return self.fail(&error),
                }
                let applicable = match applicable {
                    Some(applicable) => Ok(applicable),
                    None => self.applicable(&mut attributes),
                };
                match applicable {
                    Ok(applicable) => self.decide(attributes, applicable, length, body, phase),
                    Err(error) => self.fail(&error),
                }
            }
            State::ReadingBody(reading) => {
                let ReadingBody {
                    mut attributes,
                    admitted,
                } = *reading;
                self.state = State::Admitted(admitted);
                if is_whole {
                    self.request.reader = None;
                }
                if let Some(body) = body {
                    self.request_usage_report(&mut attributes, &body.bytes);
                }
                Next::Continue
            }
            other => {
                self.state = other;
                Next::Continue
            }
        }
    }

    /// Adds the body to the attributes, as far as it was read.
    pub(super) fn take_body(&mut self, attributes: &mut Attributes, is_whole: bool) {
        let parts = Rc::clone(&self.parts);
        let needs = parts.policies.needs();
        // A body that is labelled as encoded counts if it is JSON all the same: servers may ignore the label.
        let is_encoded = is_encoded(attributes.headers());
        let reader = self.request.reader.as_ref();
        let is_unknown = is_encoded && !reader.is_some_and(|reader| reader.begins_like_json());
        if attributes.body.is_pending() {
            let is_json = is_json(attributes.headers()) && !is_encoded;
            let max = Share::Values.room(self.parts.memory);
            let max = max.min(self.parts.memory.room(Need::Decision));
            let (body, bytes) = measured(|| match &self.request.reader {
                Some(reader) => Body::read(reader, &needs.body, is_json, is_whole, max),
                None => (Body::Opaque, true),
            });
            let (body, is_kept) = body;
            attributes.body = body;
            self.request.kept.set_values(bytes);
            if !is_kept {
                self.lack_memory(Need::Decision, bytes, max);
            }
        }
        if needs.llm && !is_unknown {
            attributes.llm = self.request.llm(&self.parts.estimator, is_whole);
        }
        if is_whole {
            self.request.reader = None;
        }
    }
}
