//! One HTTP exchange: the state machine admit → meter → settle.
//!
//! Envoy ends when a stream is resumed that was not paused, or answered after its end, so every
//! such call is made here and follows from [`State`]. Nothing outside this module resumes, replies
//! or charges; and whatever happens to the exchange, [`Stream::on_log`] is its end.

mod alternative;
mod answer;
mod asking;
mod head;
mod observe;
mod queued;
#[cfg(test)]
mod tests;

pub use crate::admit::queue::Waited;
use crate::admit::{
    self, Admission, Applicable, Asking, Denial, Expected, Fault, First, Outcome, Told,
};
use crate::attributes::{Attributes, Body, BodyError, Llm};
use crate::host::{Buffer, HeaderMap, Headers, LogLevel};
use crate::meter::withhold::Withhold;
use crate::meter::{BedrockCounts, Meter, ResponseHead, Usage};
use crate::plugin::{Charge, Count, Decision, Kept, Plugin};
use crate::reply;
use crate::request::Ask;
use crate::request::path::{self, Target};
use crate::settle::{self, Reading, Request, Spent, price};
use filter_config::{Exceeded, OnMissing, Usd};
use head::{content_length, is_encoded, is_grpc, is_json, is_upgrade, status};
use queued::Queued;
use std::mem;
use std::rc::Rc;

/// What Envoy does after a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Passes on what it has.
    Continue,
    /// Keeps it, and what follows, until told otherwise or asked again.
    Pause,
    /// Keeps it, and lets no more come than fits, until told otherwise. Only for bodies.
    Stall,
}

/// Where an exchange is on its way.
#[derive(Debug)]
enum State {
    /// The request has not begun.
    New,
    /// The request waits for its body, which decides on it.
    Reading(Box<Waiting>),
    /// The request waits for room at a counter.
    Queued(Box<Queued>),
    /// The request waits for a rate limit service, which decides on it.
    Asking(Box<Unanswered>),
    /// The request was let go; there is no response yet.
    Admitted,
    /// The response is read as it passes.
    Metering(Box<Meter>),
    /// The response switched to another protocol: nothing is read, and what is held stays held.
    Upgraded,
    /// There is nothing more to do than to say what was done.
    Done,
}

/// Where a request is decided on, and so where it can wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// At its headers: no body follows, or none that is read.
    Headers,
    /// At its headers, though the body is to be read.
    BeforeBody,
    /// At its body.
    Body,
    /// When the response has begun, and nothing can wait.
    Late,
}

/// What is known of a request that waits for its body.
#[derive(Debug)]
struct Waiting {
    attributes: Attributes,
    /// The limits that apply, where that can be told without the body.
    applicable: Option<Applicable>,
    /// Whether the request was admitted already, and its body is only read.
    admitted: bool,
}

/// What is known of a request that waits for a rate limit service.
#[derive(Debug)]
struct Unanswered {
    attributes: Attributes,
    asking: Asking,
    /// Whether its headers wait, and its body is to be read when they go.
    reads_body: bool,
    /// Whether the headers wait, so that the upstream has heard nothing.
    at_headers: bool,
}

/// One HTTP exchange.
pub struct Stream {
    plugin: Rc<Plugin>,
    /// What Envoy knows the stream by.
    context: u32,
    state: State,
    /// Whether the request's body was kept back by the last callback.
    request_paused: bool,
    /// Bytes of request body that were seen.
    request_bytes: u64,
    /// Whether the whole request was seen.
    request_ended: bool,
    /// The length that the request's headers give its body.
    request_length: Option<u64>,
    /// The request's path.
    path: String,
    /// The API that it leads to, if it is a known one.
    target: Option<Target>,
    /// What the request's body asks for.
    ask: Ask,
    /// What keeps from the client the usage report that was asked for in his place.
    withhold: Option<Withhold>,
    admission: Admission,
    decision: Option<Decision>,
    /// The policy and limit that decided, by their indices.
    decided_by: Option<(usize, usize)>,
    /// The alternative of that limit which was taken, by its index.
    alternative: Option<usize>,
    reading: Option<Reading>,
    /// What that costs in money, where there are prices.
    usd: Option<Usd>,
    /// What costs read when the exchange is over.
    kept: Option<Box<Attributes>>,
    /// The model that the response names.
    model: Option<String>,
}

// === impl Stream ===

impl Stream {
    /// An exchange that is about to begin, on the stream that Envoy knows by `context`.
    #[must_use]
    pub fn new(plugin: Rc<Plugin>, context: u32) -> Self {
        Self {
            plugin,
            context,
            state: State::New,
            request_paused: false,
            request_bytes: 0,
            request_ended: false,
            request_length: None,
            path: String::new(),
            target: None,
            ask: Ask::default(),
            withhold: None,
            admission: Admission::default(),
            decision: None,
            decided_by: None,
            alternative: None,
            reading: None,
            usd: None,
            kept: None,
            model: None,
        }
    }

    /// The request's headers are here.
    pub fn on_request_headers(&mut self, end_of_stream: bool) -> Next {
        if !matches!(self.state, State::New) {
            return Next::Continue;
        }
        self.request_ended = end_of_stream;
        let headers = self.plugin.host.headers(HeaderMap::Request);
        let headers = headers.unwrap_or_else(|error| {
            // Without headers the policy is evaluated on none, as the failure mode has it.
            self.log(LogLevel::Error, &format!("request headers: {error}"));
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
                self.log(LogLevel::Error, &format!("content-length: {error}"));
            }
        }
        let needs_body = applicable.undecided || applicable.needs_body || holds_headers;
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
    fn on_held_body(&mut self, size: usize) -> Next {
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
                self.log(LogLevel::Error, &format!("request body: {error}"));
                let size = if size == usize::MAX { 0 } else { size };
                self.on_whole_body(size, None, BodyError::Unfinished, Turn::Body)
            }
        }
    }

    /// Decides on a request whose body is known, as far as it ever will be: `size` bytes, these if
    /// they can be read, else for the reason `unread`.
    fn on_whole_body(
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
    fn begins_like_grpc(&self) -> bool {
        let first = self.plugin.host.buffer(Buffer::RequestBody, 0, 1);
        first.is_ok_and(|first| matches!(first.first(), Some(0 | 1)))
    }

    /// What the request says of the model that it asks: its path and, when it is known, its body
    /// of so many bytes.
    fn llm(&self, body_bytes: Option<u64>) -> Llm {
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
    fn expected(&self, body_bytes: Option<u64>) -> Expected<'_> {
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
    fn decide(
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
        if let Ok(Outcome::Asking(asking)) = outcome {
            if let Some(body) = body {
                self.ask_for_usage(&attributes, body);
            }
            self.state = State::Asking(Box::new(Unanswered {
                attributes,
                asking: *asking,
                reads_body: turn == Turn::BeforeBody,
                at_headers: turn != Turn::Body,
            }));
            return self.waits_at(turn);
        }
        if let Ok(Outcome::Denied(denial, _)) = &outcome
            && turn != Turn::Late
        {
            let plugin = Rc::clone(&self.plugin);
            match (plugin.on_exceeded(&denial.charge), again) {
                (Exceeded::Alternatives(alternatives), _) => {
                    if let Some(next) =
                        self.take_alternative(alternatives, denial, &attributes, body_bytes, body)
                    {
                        return next;
                    }
                }
                (Exceeded::Queue(queue), Some(applicable)) if self.join(queue, denial) => {
                    if let Some(body) = body {
                        self.ask_for_usage(&attributes, body);
                    }
                    let waiting =
                        Queued::new(attributes, applicable, body_bytes, denial, queue, turn);
                    self.state = State::Queued(Box::new(waiting));
                    return self.waits_at(turn);
                }
                _ => {}
            }
        }
        let next = self.conclude(outcome, &mut attributes);
        if matches!(self.state, State::Admitted) {
            if turn == Turn::BeforeBody {
                self.read_body(attributes);
            } else if let Some(body) = body {
                self.ask_for_usage(&attributes, body);
            }
        }
        next
    }

    /// How a request waits that is decided on at this turn.
    fn waits_at(&self, turn: Turn) -> Next {
        match turn {
            Turn::Body if !self.request_ended => Next::Stall,
            _ => Next::Pause,
        }
    }

    /// Waits for the body of a request that was admitted, for what it says of the model.
    fn read_body(&mut self, attributes: Attributes) {
        self.state = State::Reading(Box::new(Waiting {
            attributes,
            applicable: None,
            admitted: true,
        }));
    }

    /// Does what was decided.
    fn conclude(&mut self, outcome: Result<Outcome, Fault>, attributes: &mut Attributes) -> Next {
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
        if is_metered && self.plugin.kept != Kept::Nothing {
            self.kept = Some(Box::new(self.keep(attributes)));
        }
        Next::Continue
    }

    /// What costs read of the request, for when the exchange is over.
    fn keep(&self, attributes: &mut Attributes) -> Attributes {
        for export in &self.plugin.configuration.exports {
            // What cannot be read now is a fault when it is evaluated.
            let _ = admit::evaluate::resolve(&self.plugin, attributes, &export.cost);
        }
        attributes.keep(self.plugin.kept == Kept::WithBody)
    }

    /// The policy and limit that a charge is for, by their indices.
    fn limit_of(&self, charge: Charge) -> Option<(usize, usize)> {
        let rate = self.plugin.rates.get(charge.rate)?;
        Some((rate.policy, rate.limit))
    }

    /// Refuses the request because of a limit.
    fn deny(&mut self, denial: &Denial, attributes: &mut Attributes, told: &Told) -> Next {
        self.state = State::Done;
        self.decision = Some(Decision::Denied);
        self.decided_by = self.limit_of(denial.charge);
        observe::log_denial(&self.plugin, denial, attributes);
        reply::deny(&self.plugin, denial, self.target.as_ref(), told);
        Next::Pause
    }

    /// Refuses the request because its policy could not be evaluated.
    fn fail(&mut self, fault: &Fault) -> Next {
        self.state = State::Done;
        self.plugin.warn(fault);
        if let Fault::Unpriced { rate, .. } = fault {
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

    /// The response's headers are here: the upstream's, or those of a reply of Envoy's own.
    pub fn on_response_headers(&mut self, end_of_stream: bool) -> Next {
        self.tell_alternative();
        if matches!(self.state, State::New | State::Done | State::Metering(_)) {
            return Next::Continue;
        }
        let headers = self.plugin.host.headers(HeaderMap::Response);
        let headers = headers.unwrap_or_else(|error| {
            self.log(LogLevel::Error, &format!("response headers: {error}"));
            Headers::default()
        });
        let status = status(&headers);
        match self.state {
            State::Queued(_) => self.on_response_before_turn(status),
            State::Asking(_) => self.on_response_before_answer(status),
            _ => {}
        }
        if matches!(self.state, State::Reading(_)) && !self.on_early_response(status) {
            return Next::Continue;
        }
        if !matches!(self.state, State::Admitted) {
            // The early response was replaced by a refusal.
            return match self.decision {
                Some(Decision::Denied | Decision::Failed) => Next::Pause,
                _ => Next::Continue,
            };
        }
        let Admission {
            charges,
            standings,
            told,
            ..
        } = &self.admission;
        reply::annotate(&self.plugin, charges, standings);
        reply::pass_on(&*self.plugin.host, told);
        if status == 101 {
            self.state = State::Upgraded;
            return Next::Continue;
        }
        self.prepare_to_withhold(&headers);
        let head = ResponseHead {
            status,
            content_type: headers.get("content-type"),
            content_encoding: headers.get("content-encoding"),
            path: self.path.as_bytes(),
            bedrock_counts: BedrockCounts {
                input: headers.get("x-amzn-bedrock-input-token-count"),
                output: headers.get("x-amzn-bedrock-output-token-count"),
                cache_read_input: headers.get("x-amzn-bedrock-cache-read-input-token-count"),
                cache_write_input: headers.get("x-amzn-bedrock-cache-write-input-token-count"),
            },
        };
        let meter = Meter::with_paths(&head, &self.plugin.usage_paths);
        self.state = State::Metering(Box::new(meter));
        if let Some(kept) = &mut self.kept {
            kept.answered(status, headers);
        }
        if end_of_stream {
            self.on_response_end(true);
        }
        Next::Continue
    }

    /// A response began while the request's body was kept back. Returns whether it is to be looked
    /// at any further.
    ///
    /// The upstream has not seen the body, so what it answers is hardly a completion. One that
    /// looks like it is admitted, or replaced by a refusal, as the policy has it without the body.
    fn on_early_response(&mut self, status: u16) -> bool {
        let admitted = matches!(&self.state, State::Reading(waiting) if waiting.admitted);
        if !(200..300).contains(&status) {
            self.state = if admitted {
                State::Admitted
            } else {
                State::Done
            };
            return admitted;
        }
        let paused = self.request_paused;
        if self.on_whole_body(0, None, BodyError::Unfinished, Turn::Late) == Next::Continue
            && paused
        {
            self.resume_request();
        }
        true
    }

    /// `size` bytes of the response's body are here, and go on to the client afterwards.
    pub fn on_response_body(&mut self, size: usize, end_of_stream: bool) -> Next {
        let is_metering = matches!(self.state, State::Metering(_));
        if !is_metering && self.withhold.is_none() {
            return Next::Continue;
        }
        let bytes = match size {
            0 => Ok(Vec::new()),
            size => self.plugin.host.buffer(Buffer::ResponseBody, 0, size),
        };
        let bytes = bytes.unwrap_or_else(|error| {
            self.log(LogLevel::Error, &format!("response body: {error}"));
            Vec::new()
        });
        let mut reported = true;
        if let State::Metering(meter) = &mut self.state {
            meter.push(&bytes);
            reported = meter.usage().is_some();
            if end_of_stream || meter.is_final() {
                self.on_response_end(end_of_stream);
            }
        }
        self.withhold(&bytes, reported, end_of_stream);
        Next::Continue
    }

    /// The response ends with trailers.
    pub fn on_response_trailers(&mut self) -> Next {
        self.on_response_end(true);
        self.withhold(&[], true, true);
        Next::Continue
    }

    /// Nothing more that matters will come: the exchange is charged.
    fn on_response_end(&mut self, is_complete: bool) {
        if let State::Metering(mut meter) = mem::replace(&mut self.state, State::Done) {
            // Asked before the end is made: what breaks off is not final.
            let is_complete = is_complete || meter.is_final();
            meter.finish();
            // It goes into logs and metrics.
            let plain = |model: &str| model.replace(char::is_control, "_");
            self.model = meter.model().map(plain);
            if meter.is_completion() && meter.usage().is_none() {
                let host = &*self.plugin.host;
                self.plugin.metrics.count(host, Count::MissingUsage);
            }
            let reading = settle::reading(&self.plugin, &meter, &self.request(is_complete));
            if let Some(Reading {
                usage,
                estimated: false,
            }) = &reading
            {
                let Request { model, bytes, .. } = self.request(is_complete);
                let estimates = &self.plugin.estimates;
                estimates.learn(model, bytes, meter.output_bytes(), usage);
            }
            let raw = self.kept.is_some().then(|| meter.raw_usage()).flatten();
            self.charge(reading, raw.unwrap_or_default());
        }
    }

    /// The model that is asked: the path's, where it names one, whatever the body says.
    fn asked_model(&self) -> Option<&str> {
        let target = self.target.as_ref();
        let named = target.and_then(|target| target.model.as_deref());
        named.or(self.ask.model.as_deref())
    }

    /// What is known of the exchange besides its response.
    fn request(&self, is_complete: bool) -> Request<'_> {
        Request {
            model: self.asked_model().or(self.model.as_deref()),
            bytes: self.ask.input_bytes(self.request_bytes),
            is_complete,
        }
    }

    /// Charges the exchange for what it used, as the provider reported it in `raw`, and releases what
    /// it holds.
    fn charge(&mut self, reading: Option<Reading>, raw: &[u8]) {
        let plugin = Rc::clone(&self.plugin);
        let host = &*plugin.host;
        if let Some(Reading { usage, estimated }) = &reading {
            if *estimated {
                plugin.metrics.count(host, Count::Estimated);
            }
            self.usd = self.priced(usage);
            let model = self.model.as_deref();
            plugin.metrics.tokens(host, model, usage, self.usd);
        }
        let usd = self.usd.unwrap_or_default();
        let mut spent = Spent::new(reading, usd, self.kept.as_deref_mut());
        spent.tell(raw);
        if let Err(error) = settle::settle(&plugin, &mut self.admission, &mut spent) {
            plugin.metrics.count(host, Count::StorageErrors);
            let cost = reading.map_or(0, |reading| reading.usage.total_tokens);
            let message = format!("{cost} tokens not counted: {error}");
            host.log(LogLevel::Error, &message);
        }
        settle::export(&plugin, &mut spent);
        let Admission {
            charges,
            standings,
            costs,
            ..
        } = &self.admission;
        for ((charge, standing), cost) in charges.iter().zip(standings).zip(costs) {
            settle::alert(&plugin, charge, standing, *cost);
        }
        self.reading = reading;
    }

    /// What usage costs in money, by the model that was asked, else by that which answered; `None` where
    /// there are no prices.
    fn priced(&self, usage: &Usage) -> Option<Usd> {
        let pricing = self.plugin.configuration.pricing.as_ref()?;
        let models = [self.asked_model(), self.model.as_deref()];
        let priced = price::priced(pricing, models.into_iter().flatten(), usage);
        if !priced.is_known {
            let host = &*self.plugin.host;
            self.plugin.metrics.count(host, Count::Unpriced);
        }
        Some(priced.usd)
    }

    /// The exchange is over, however it ended.
    pub fn on_log(&mut self) {
        if matches!(&self.state, State::Reading(waiting) if waiting.admitted) {
            self.state = State::Admitted;
        }
        match &mut self.state {
            State::Metering(_) => self.on_response_end(false),
            State::Asking(unanswered) => {
                unanswered.asking.abandon(&self.plugin);
                self.state = State::Done;
            }
            State::Admitted => {
                // No response was seen. A caller who sends a whole request and hangs up before the
                // answer has had the upstream work for him all the same.
                self.state = State::Done;
                let estimates = self.plugin.configuration.usage.on_missing == OnMissing::Estimate;
                let is_whole =
                    self.request_ended || self.request_length == Some(self.request_bytes);
                let sent = is_whole && self.request_bytes > 0;
                let reading = (estimates && sent && self.client_left())
                    .then(|| settle::estimate(&self.plugin, &self.request(false), 0));
                self.charge(reading, &[]);
            }
            State::Upgraded => {
                self.state = State::Done;
                self.charge(None, &[]);
            }
            State::Queued(_) => {
                self.leave();
            }
            State::New | State::Reading(_) | State::Done => self.state = State::Done,
        }
        observe::observe(self);
    }

    /// Whether it was the client who ended the exchange.
    fn client_left(&self) -> bool {
        let details = self.plugin.host.property(&["response", "code_details"]);
        let details = details.ok().flatten().unwrap_or_default();
        // The codecs tell of resets by the client as `http2.remote_reset`; what an upstream does
        // begins with `upstream_`.
        [b"downstream_".as_slice(), b"http1.", b"http2.", b"http3."]
            .iter()
            .any(|start| details.starts_with(start))
    }

    fn log(&self, level: LogLevel, message: &str) {
        self.plugin.host.log(level, message);
    }
}
