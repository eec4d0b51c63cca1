//! The request of an exchange: it is read as far as the decision on it needs, and admitted or refused.

use super::head::{content_length, is_encoded, is_grpc, is_json, is_upgrade};
use super::{About, Choice, Next, State, Stream, Turn, Unanswered, Undecided, Waiting, observe};
use crate::admit::{self, Applicable, Denial, Expected, Fault, First, Outcome, Told};
use crate::attributes::{Attributes, Body, BodyError, Llm};
use crate::host::{Buffer, HeaderMap, Headers};
use crate::plugin::{Charge, Count, Decision, Kept};
use crate::reply;
use filter_config::Exceeded;
use std::mem;
use std::rc::Rc;
use usage_meter::Usage;
use usage_meter::request::{Ask, path};

impl Stream {
    /// The request's headers are here.
    pub fn on_request_headers(&mut self, end_of_stream: bool) -> Next {
        if !matches!(self.state, State::New) {
            return Next::Continue;
        }
        self.request_ended = end_of_stream;
        let headers = self.plugin.host.headers(HeaderMap::Request);
        let headers = headers.unwrap_or_else(|error| {
            // Without headers the policy is evaluated on none, as the failure mode has it.
            log::error!("request headers: {error}");
            Headers::default()
        });
        if let Some(path) = headers.text(":path") {
            self.target = path::target(&path);
            self.path = path.into_owned();
        }
        self.request_length = content_length(&headers);
        let mut attributes = Attributes::new(headers);
        let has_body = !end_of_stream && !is_upgrade(attributes.headers());
        let max = self.plugin.configuration.request_body.max_bytes;
        if !has_body {
            attributes.body = Body::Opaque;
        } else if is_encoded(attributes.headers()) {
            attributes.body = Body::Unreadable(BodyError::Encoded);
        } else if self.request_length > Some(max as u64) {
            // Kept back in part it could pass Envoy's own bound, and be refused for that.
            attributes.body = Body::Unreadable(BodyError::TooLarge(max));
        }
        if self.plugin.reads_llm {
            attributes.llm = self.llm(None);
        }
        let applicable = match admit::applicable(&self.plugin, &mut attributes) {
            Ok(applicable) => applicable,
            Err(fault) => return self.fail(&fault),
        };
        let says_more =
            applicable.needs_body || (!applicable.is_empty() && is_json(attributes.headers()));
        let reads_body = attributes.body.is_pending() && (applicable.undecided || says_more);
        let holds_headers = self.plugin.configuration.hold_headers;
        if !reads_body {
            let length = if has_body {
                self.request_length
            } else {
                Some(0)
            };
            return self.decide(attributes, applicable, length, None, Turn::Headers);
        }
        let first = match admit::first_look(&self.plugin, &applicable) {
            Ok(First::Denied(denial)) => return self.deny(&denial, &mut attributes, &Told::new()),
            Ok(first) => first,
            Err(fault) => return self.fail(&fault),
        };
        if !holds_headers && self.may_ask_for_usage() {
            // The headers leave before it is known whether the body will grow.
            let removed = self
                .plugin
                .host
                .remove_header(HeaderMap::Request, "content-length");
            if let Err(error) = removed {
                log::error!("content-length: {error}");
            }
        }
        let needs_body = applicable.undecided
            || applicable.needs_body
            || applicable.costs_by_body(&self.plugin)
            || holds_headers
            // Who waits is decided on with his body.
            || self.plugin.queues;
        if first == First::Doubt && !needs_body {
            // The service is asked once: with the body it would be by what exactly is expected, but
            // who has nothing left is refused before the upstream hears of him.
            let length = self.request_length;
            return self.decide(attributes, applicable, length, None, Turn::BeforeBody);
        }
        self.state = State::Reading(Box::new(Waiting {
            applicable: (!applicable.undecided).then_some(applicable),
            attributes,
            admitted: false,
        }));
        if holds_headers {
            Next::Pause
        } else {
            Next::Continue
        }
    }

    /// `size` bytes of the request's body are here: what was kept back and what is new.
    pub fn on_request_body(&mut self, size: usize, end_of_stream: bool) -> Next {
        self.request_ended |= end_of_stream;
        let State::Reading(waiting) = &self.state else {
            self.request_bytes = self.request_bytes.saturating_add(size as u64);
            return match &mut self.state {
                State::Asking(unanswered) => {
                    unanswered.reads_body = false;
                    Next::Stall
                }
                State::Queued(_) => Next::Stall,
                _ => Next::Continue,
            };
        };
        let max = self.plugin.configuration.request_body.max_bytes;
        if size > max {
            return self.on_whole_body(size, None, BodyError::TooLarge(max), Turn::Body);
        }
        if end_of_stream {
            return self.on_held_body(size);
        }
        if is_grpc(waiting.attributes.headers()) && self.begins_like_grpc() {
            // Whoever streams both ways may wait for an answer to the first message.
            return self.on_whole_body(size, Some(&[]), BodyError::Unfinished, Turn::Body);
        }
        self.request_paused = true;
        Next::Pause
    }

    /// The request ends with trailers.
    pub fn on_request_trailers(&mut self) -> Next {
        self.request_ended = true;
        match self.state {
            State::Reading(_) => self.on_held_body(usize::MAX),
            State::Queued(_) | State::Asking(_) => Next::Pause,
            _ => Next::Continue,
        }
    }

    /// The body that was kept back is whole.
    pub(super) fn on_held_body(&mut self, size: usize) -> Next {
        let max = self.plugin.configuration.request_body.max_bytes;
        let bytes = self
            .plugin
            .host
            .buffer(Buffer::RequestBody, 0, size.min(max));
        match bytes {
            Ok(bytes) => {
                self.on_whole_body(bytes.len(), Some(&bytes), BodyError::Unfinished, Turn::Body)
            }
            Err(error) => {
                log::error!("request body: {error}");
                let size = if size == usize::MAX { 0 } else { size };
                self.on_whole_body(size, None, BodyError::Unfinished, Turn::Body)
            }
        }
    }

    /// Decides on a request whose body is known, as far as it ever will be: `size` bytes, these if
    /// they can be read, else for the reason `unread`.
    pub(super) fn on_whole_body(
        &mut self,
        size: usize,
        bytes: Option<&[u8]>,
        unread: BodyError,
        turn: Turn,
    ) -> Next {
        self.request_paused = false;
        let State::Reading(waiting) = mem::replace(&mut self.state, State::Done) else {
            return Next::Continue;
        };
        let Waiting {
            mut attributes,
            applicable,
            admitted,
        } = *waiting;
        let length = self.request_length.max(Some(size as u64));
        self.request_bytes = self.request_bytes.saturating_add(size as u64);
        if admitted {
            self.state = State::Admitted;
            if let Some(bytes) = bytes {
                self.ask = Ask::read(bytes);
                self.ask_for_usage(&attributes, bytes);
            }
            return Next::Continue;
        }
        if attributes.body.is_pending() {
            let is_json = is_json(attributes.headers());
            attributes.body = match bytes {
                Some(bytes) if self.plugin.reads_body => Body::read(bytes, is_json),
                Some(bytes) => Body::glance(bytes, is_json),
                None => Body::Unreadable(unread),
            };
        }
        if let Some(bytes) = bytes {
            self.ask = Ask::read(bytes);
            if self.plugin.reads_llm {
                attributes.llm = self.llm(Some(size as u64));
            }
        }
        let applicable = match applicable {
            Some(applicable) => applicable,
            None => match admit::applicable(&self.plugin, &mut attributes) {
                Ok(applicable) => applicable,
                Err(fault) => return self.fail(&fault),
            },
        };
        self.decide(attributes, applicable, length, bytes, turn)
    }

    /// Whether the body at hand begins with the frame of a gRPC message, as no JSON does.
    pub(super) fn begins_like_grpc(&self) -> bool {
        let first = self.plugin.host.buffer(Buffer::RequestBody, 0, 1);
        first.is_ok_and(|first| matches!(first.first(), Some(0 | 1)))
    }

    /// What the request says of the model that it asks: its path and, when it is known, its body
    /// of so many bytes.
    pub(super) fn llm(&self, body_bytes: Option<u64>) -> Llm {
        let target = self.target.as_ref();
        let model = self.asked_model();
        let estimates = &self.plugin.estimates;
        Llm {
            provider: target.map(|target| target.provider),
            api: target.map(|target| target.api),
            model: model.map(str::to_owned),
            // A request that does not say does not stream.
            stream: self
                .ask
                .stream
                .or_else(|| target?.stream)
                .or(body_bytes.map(|_| false)),
            max_output_tokens: self.ask.max_output_tokens,
            estimated_input_tokens: body_bytes
                .map(|bytes| estimates.input_tokens(model, self.ask.input_bytes(bytes))),
        }
    }

    /// What a request is expected to use whose body has so many bytes.
    pub(super) fn expected(&self, body_bytes: Option<u64>) -> Expected<'_> {
        let estimates = &self.plugin.estimates;
        let model = self.asked_model();
        let bytes = self.ask.input_bytes(body_bytes.unwrap_or_default());
        if body_bytes == Some(0) {
            return Expected {
                model,
                ..Expected::default()
            };
        }
        let input_tokens = estimates.input_tokens(model, bytes);
        let output_tokens = match self.ask.max_output_tokens {
            Some(tokens) => tokens,
            None => estimates.mean_output(model),
        };
        let usage = Usage {
            input_tokens,
            output_tokens,
            total_tokens: input_tokens.saturating_add(output_tokens),
            ..Usage::default()
        };
        Expected { model, usage }
    }

    /// Decides on the request, by all that will be known of it: lets it go or refuses it, or does what
    /// the limit says that has no room for it; or asks, and lets it wait.
    pub(super) fn decide(
        &mut self,
        mut attributes: Attributes,
        applicable: Applicable,
        body_bytes: Option<u64>,
        body: Option<&[u8]>,
        turn: Turn,
    ) -> Next {
        let expected = self.expected(body_bytes);
        let waits = (turn != Turn::Late).then_some(self.context);
        // What it takes to look again.
        let again = self.plugin.queues.then(|| applicable.clone());
        let outcome = admit::last_look(&self.plugin, &mut attributes, applicable, &expected, waits);
        let is_undecided = !matches!(outcome, Ok(Outcome::Admitted(_)) | Err(_));
        let kept = body.filter(|_| is_undecided && self.plugin.changes_requests());
        let mut undecided = Undecided {
            attributes,
            again,
            body_bytes,
            body: kept.map(<[u8]>::to_vec),
            turn,
        };
        match outcome {
            Ok(Outcome::Asking(asking)) => {
                if let Some(body) = body {
                    self.ask_for_usage(&undecided.attributes, body);
                }
                self.state = State::Asking(Box::new(Unanswered {
                    asked: About::Itself(undecided),
                    asking: *asking,
                    reads_body: turn == Turn::BeforeBody,
                }));
                self.waits_at(turn)
            }
            Ok(Outcome::Denied(denial, told)) => {
                let may_wait =
                    matches!(self.plugin.on_exceeded(&denial.charge), Exceeded::Queue(_));
                if let Some(body) = body.filter(|_| may_wait && turn != Turn::Late) {
                    self.ask_for_usage(&undecided.attributes, body);
                }
                self.exceed(undecided, denial, told)
            }
            outcome => {
                let next = self.conclude(outcome, &mut undecided.attributes);
                if matches!(self.state, State::Admitted) {
                    if turn == Turn::BeforeBody {
                        self.read_body(undecided.attributes);
                    } else if let Some(body) = body {
                        self.ask_for_usage(&undecided.attributes, body);
                    }
                }
                next
            }
        }
    }

    /// Does what the limit says that has no room for a request.
    pub(super) fn exceed(&mut self, mut undecided: Undecided, denial: Denial, told: Told) -> Next {
        let plugin = Rc::clone(&self.plugin);
        let turn = undecided.turn;
        match plugin.on_exceeded(&denial.charge) {
            Exceeded::Alternatives(_) if turn != Turn::Late => {
                let ask = mem::take(&mut self.ask);
                let choice = Choice::new(undecided, ask, denial, told);
                self.take_alternative(Box::new(choice))
            }
            Exceeded::Queue(queue) if turn != Turn::Late && self.join(queue, &denial) => {
                self.wait_in_line(undecided, denial, told, queue)
            }
            _ => self.deny(&denial, &mut undecided.attributes, &told),
        }
    }

    /// How a request waits that is decided on at this turn.
    pub(super) fn waits_at(&self, turn: Turn) -> Next {
        match turn {
            Turn::Body if !self.request_ended => Next::Stall,
            _ => Next::Pause,
        }
    }

    /// Waits for the body of a request that was admitted, for what it says of the model.
    pub(super) fn read_body(&mut self, attributes: Attributes) {
        self.state = State::Reading(Box::new(Waiting {
            attributes,
            applicable: None,
            admitted: true,
        }));
    }

    /// Does what was decided.
    pub(super) fn conclude(
        &mut self,
        outcome: Result<Outcome, Fault>,
        attributes: &mut Attributes,
    ) -> Next {
        let admission = match outcome {
            Ok(Outcome::Admitted(admission)) => admission,
            Ok(Outcome::Denied(denial, told)) => return self.deny(&denial, attributes, &told),
            // Nothing is decided.
            Ok(Outcome::Asking(_)) => return Next::Pause,
            Err(fault) => return self.fail(&fault),
        };
        self.decision = Some(match &admission {
            admission if admission.failed_open => Decision::FailedOpen,
            admission if admission.charges.is_empty() => Decision::Unmatched,
            admission if admission.shadow_denied.is_some() => Decision::ShadowDenied,
            _ => Decision::Admitted,
        });
        if let Some(charge) = admission.shadow_denied {
            self.decided_by = self.limit_of(charge);
        }
        let is_metered = !admission.charges.is_empty() || self.plugin.exports_costs();
        self.state = if is_metered {
            State::Admitted
        } else {
            State::Done
        };
        self.admission = admission;
        self.tell_held(1);
        if is_metered && self.plugin.kept != Kept::Nothing {
            self.kept = Some(Box::new(self.keep(attributes)));
        }
        Next::Continue
    }

    /// What costs read of the request, for when the exchange is over.
    pub(super) fn keep(&self, attributes: &mut Attributes) -> Attributes {
        for export in &self.plugin.configuration.exports {
            // What cannot be read now is a fault when it is evaluated.
            let _ = admit::evaluate::resolve(&self.plugin, attributes, &export.cost);
        }
        attributes.keep(self.plugin.kept == Kept::WithBody)
    }

    /// The policy and limit that a charge is for, by their indices.
    pub(super) fn limit_of(&self, charge: Charge) -> Option<(usize, usize)> {
        let rate = self.plugin.rates.get(charge.rate)?;
        Some((rate.policy, rate.limit))
    }

    /// Refuses the request because of a limit.
    pub(super) fn deny(
        &mut self,
        denial: &Denial,
        attributes: &mut Attributes,
        told: &Told,
    ) -> Next {
        self.state = State::Done;
        self.decision = Some(Decision::Denied);
        self.decided_by = self.limit_of(denial.charge);
        observe::log_denial(&self.plugin, denial, attributes);
        reply::deny(&self.plugin, denial, self.target.as_ref(), told);
        Next::Pause
    }

    /// Refuses the request because its policy could not be evaluated.
    pub(super) fn fail(&mut self, fault: &Fault) -> Next {
        self.state = State::Done;
        self.plugin.warn(fault);
        if let Fault::Unpriced { rate, .. } = fault {
            let host = &*self.plugin.host;
            self.plugin.metrics.count(host, Count::Unpriced);
            self.decision = Some(Decision::Denied);
            let rate = self.plugin.rates.get(*rate);
            self.decided_by = rate.map(|rate| (rate.policy, rate.limit));
            reply::refuse_unpriced(&self.plugin, self.target.as_ref());
            return Next::Pause;
        }
        self.decision = Some(Decision::Failed);
        reply::fail(&self.plugin, self.target.as_ref());
        Next::Pause
    }
}
