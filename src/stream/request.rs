//! The request of an exchange: it is read as far as the decision on it needs.

use super::charging::Charging;
use super::head::{content_length, is_encoded, is_grpc, is_json, is_upgrade};
use super::machine::{Next, Stream};
use super::state::{AwaitingBody, Phase, ReadingBody, State};
use crate::attributes::{Attributes, Body, BodyError};
use crate::host::{Buffer, HeaderMap, Headers};
use crate::ledger::{Precheck, ResponseHeaders};
use crate::telemetry::Telemetry;
use std::mem;
use std::rc::Rc;
use usage_meter::request::Parameters;

// === impl Stream ===

impl Stream {
    /// Takes the request's headers: the header phase.
    pub fn on_request_headers(&mut self, end_of_stream: bool) -> Next {
        if !matches!(self.state, State::New) {
            return Next::Continue;
        }
        let parts = Rc::clone(&self.parts);
        let configuration = parts.policies.configuration();
        self.request.has_ended = end_of_stream;
        let headers = parts.host.headers(HeaderMap::Request);
        let headers = headers.unwrap_or_else(|error| {
            // The policy is then evaluated without headers, as the failure mode says.
            Telemetry::host_call_failed("request headers", error);
            Headers::default()
        });
        if let Some(path) = headers.text(":path") {
            let method = headers.text(":method").unwrap_or_default();
            let methods = &configuration.usage.methods;
            self.request.charging = Charging::of(methods, &method, &path);
            self.request.endpoint = usage_meter::request::Endpoint::of_path(&path);
            self.request.path = path.into_owned();
        }
        self.request.content_length = content_length(&headers);
        let mut attributes = Attributes::new(headers);
        let has_body = !end_of_stream && !is_upgrade(attributes.headers());
        let max = configuration.request_body.max_bytes;
        if !has_body {
            attributes.body = Body::Opaque;
        } else if is_encoded(attributes.headers()) {
            attributes.body = Body::Unreadable(BodyError::Encoded);
        } else if self.request.content_length > Some(max as u64) {
            // If a part of it were buffered, it could exceed Envoy's own bound and be rejected for that.
            attributes.body = Body::Unreadable(BodyError::TooLarge(max));
        }
        if parts.policies.needs().llm {
            attributes.llm = self.request.llm(&parts.estimator, None);
        }
        let applicable = match self.applicable(&mut attributes) {
            Ok(applicable) => applicable,
            Err(error) => return self.fail(&error),
        };
        if !applicable.is_empty() || applicable.depends_on_body || !configuration.exports.is_empty()
        {
            self.narrow_accept_encoding(attributes.headers());
        }
        let reads_body = applicable.amount_needs_body
            || (!applicable.is_empty() && is_json(attributes.headers()));
        let awaits_body =
            attributes.body.is_pending() && (applicable.depends_on_body || reads_body);
        let holds_headers = configuration.hold_headers;
        if !awaits_body {
            let length = if has_body {
                self.request.content_length
            } else {
                Some(0)
            };
            return self.decide(attributes, applicable, length, None, Phase::Headers);
        }
        let precheck = match parts.ledger.precheck(&applicable.charges) {
            Ok(Precheck::Rejected(rejection)) => {
                return self.reject(&rejection, &mut attributes, &ResponseHeaders::new());
            }
            Ok(precheck) => precheck,
            Err(error) => return self.fail(&error.into()),
        };
        if !holds_headers && self.may_request_usage() {
            // The headers are passed on before it is known whether the body will grow.
            let removed = parts
                .host
                .remove_header(HeaderMap::Request, "content-length");
            if let Err(error) = removed {
                Telemetry::host_call_failed("content-length", error);
            }
        }
        let needs_body = applicable.depends_on_body
            || applicable.amount_needs_body
            || applicable.cost_needs_body(&parts.policies)
            || holds_headers
            // Queued requests are decided on with their bodies.
            || parts.policies.needs().queue;
        if precheck == Precheck::CallService && !needs_body {
            // The service is called once. With the body it would be called with the exact
            // expectation, but an exhausted caller is rejected before the upstream sees the request.
            let length = self.request.content_length;
            return self.decide(
                attributes,
                applicable,
                length,
                None,
                Phase::HeadersBeforeBody,
            );
        }
        self.state = State::AwaitingBody(Box::new(AwaitingBody {
            applicable: (!applicable.depends_on_body).then_some(applicable),
            attributes,
        }));
        if holds_headers {
            Next::Pause
        } else {
            Next::Continue
        }
    }

    /// Takes a part of the request's body: `size` bytes are at hand, those that were kept back
    /// included.
    pub fn on_request_body(&mut self, size: usize, end_of_stream: bool) -> Next {
        self.request.has_ended |= end_of_stream;
        let attributes = match &mut self.state {
            State::AwaitingBody(awaiting) => &awaiting.attributes,
            State::ReadingBody(reading) => &reading.attributes,
            state => {
                self.request.bytes = self.request.bytes.saturating_add(size as u64);
                return match state {
                    State::AwaitingService(awaiting) => {
                        awaiting.reads_body = false;
                        Next::Watermark
                    }
                    State::Queued(_) => Next::Watermark,
                    _ => Next::Continue,
                };
            }
        };
        let max = self.parts.policies.configuration().request_body.max_bytes;
        if size > max {
            return self.on_whole_body(size, None, BodyError::TooLarge(max), Phase::Body);
        }
        if end_of_stream {
            return self.on_held_body(size);
        }
        if is_grpc(attributes.headers()) && self.begins_like_grpc() {
            // A client that streams both ways may wait for a response to its first message.
            return self.on_whole_body(size, Some(&[]), BodyError::Unfinished, Phase::Body);
        }
        self.request.is_paused = true;
        Next::Pause
    }

    /// Takes the request's trailers, which end it.
    pub fn on_request_trailers(&mut self) -> Next {
        self.request.has_ended = true;
        match self.state {
            State::AwaitingBody(_) | State::ReadingBody(_) => self.on_held_body(usize::MAX),
            State::Queued(_) | State::AwaitingService(_) => Next::Pause,
            _ => Next::Continue,
        }
    }

    /// Takes the body that was kept back, which is complete.
    fn on_held_body(&mut self, size: usize) -> Next {
        let max = self.parts.policies.configuration().request_body.max_bytes;
        let bytes = self
            .parts
            .host
            .buffer(Buffer::RequestBody, 0, size.min(max));
        match bytes {
            Ok(bytes) => {
                let size = bytes.len();
                self.on_whole_body(size, Some(&bytes), BodyError::Unfinished, Phase::Body)
            }
            Err(error) => {
                Telemetry::host_call_failed("request body", error);
                let size = if size == usize::MAX { 0 } else { size };
                self.on_whole_body(size, None, BodyError::Unfinished, Phase::Body)
            }
        }
    }

    /// Takes a body that is known as far as it ever will be: `size` bytes, which are `bytes` if they
    /// can be read, and otherwise unreadable because of `unread`. Decides on the request, unless it
    /// was admitted already.
    pub(super) fn on_whole_body(
        &mut self,
        size: usize,
        bytes: Option<&[u8]>,
        unread: BodyError,
        phase: Phase,
    ) -> Next {
        self.request.is_paused = false;
        let length = self.request.content_length.max(Some(size as u64));
        match mem::replace(&mut self.state, State::Done) {
            State::AwaitingBody(awaiting) => {
                self.request.bytes = self.request.bytes.saturating_add(size as u64);
                let mut awaiting = *awaiting;
                self.take_body(&mut awaiting.attributes, size, bytes, unread);
                self.decide_on_body(awaiting, length, bytes, phase)
            }
            State::ReadingBody(reading) => {
                self.request.bytes = self.request.bytes.saturating_add(size as u64);
                let ReadingBody {
                    attributes,
                    admitted,
                } = *reading;
                self.state = State::Admitted(admitted);
                if let Some(bytes) = bytes {
                    self.request.parameters = Parameters::read(bytes);
                    self.request_usage_report(&attributes, bytes);
                }
                Next::Continue
            }
            other => {
                self.state = other;
                Next::Continue
            }
        }
    }

    /// Adds the body to the attributes.
    fn take_body(
        &mut self,
        attributes: &mut Attributes,
        size: usize,
        bytes: Option<&[u8]>,
        unread: BodyError,
    ) {
        let needs = self.parts.policies.needs();
        if attributes.body.is_pending() {
            let is_json = is_json(attributes.headers());
            attributes.body = match bytes {
                Some(bytes) if needs.body => Body::parse(bytes, is_json),
                Some(bytes) => Body::unread(bytes, is_json),
                None => Body::Unreadable(unread),
            };
        }
        if let Some(bytes) = bytes {
            self.request.parameters = Parameters::read(bytes);
            if needs.llm {
                attributes.llm = self.request.llm(&self.parts.estimator, Some(size as u64));
            }
        }
    }

    fn decide_on_body(
        &mut self,
        awaiting: AwaitingBody,
        length: Option<u64>,
        bytes: Option<&[u8]>,
        phase: Phase,
    ) -> Next {
        let AwaitingBody {
            mut attributes,
            applicable,
        } = awaiting;
        let applicable = match applicable {
            Some(applicable) => applicable,
            None => match self.applicable(&mut attributes) {
                Ok(applicable) => applicable,
                Err(error) => return self.fail(&error),
            },
        };
        self.decide(attributes, applicable, length, bytes, phase)
    }

    /// Returns whether the body at hand begins with the frame of a gRPC message, as no JSON does.
    fn begins_like_grpc(&self) -> bool {
        let first = self.parts.host.buffer(Buffer::RequestBody, 0, 1);
        first.is_ok_and(|first| matches!(first.first(), Some(0 | 1)))
    }
}
