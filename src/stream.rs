//! One HTTP exchange: the state machine admit → meter → settle.
//!
//! Envoy ends when a stream is resumed that was not paused, or answered after its end, so every
//! such call is made here and follows from [`State`]. Nothing outside this module resumes, replies
//! or charges; and whatever happens to the exchange, [`Stream::on_log`] is its end.

mod observe;
#[cfg(test)]
mod tests;

use crate::admit::{self, Admission, Denial, Fault, Outcome};
use crate::attributes::{Attributes, Body, BodyError};
use crate::host::{Buffer, Direction, HeaderMap, Headers, LogLevel};
use crate::meter::{BedrockCounts, Meter, ResponseHead};
use crate::plugin::{Count, Decision, Plugin};
use crate::reply;
use crate::settle::{self, Reading};
use std::mem;
use std::rc::Rc;

/// What Envoy does after a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Passes on what it has.
    Continue,
    /// Keeps it, and what follows, until told otherwise or asked again.
    Pause,
}

/// Where an exchange is on its way.
#[derive(Debug)]
enum State {
    /// The request has not begun.
    New,
    /// The request waits for its body, which the policy needs.
    Reading(Box<Attributes>),
    /// The request was let go; there is no response yet.
    Admitted,
    /// The response is read as it passes.
    Metering(Box<Meter>),
    /// There is nothing more to do than to say what was done.
    Done,
}

/// One HTTP exchange.
pub struct Stream {
    plugin: Rc<Plugin>,
    state: State,
    /// Whether the request's body was kept back by the last callback.
    request_paused: bool,
    /// Bytes of request body that were seen.
    request_bytes: u64,
    /// Whether the whole request was seen.
    request_ended: bool,
    /// The request's path, for the meter.
    path: Vec<u8>,
    admission: Admission,
    decision: Option<Decision>,
    /// The policy and limit that decided, by their indices.
    decided_by: Option<(usize, usize)>,
    reading: Option<Reading>,
    model: Option<String>,
}

// === impl Stream ===

impl Stream {
    /// An exchange that is about to begin.
    #[must_use]
    pub fn new(plugin: Rc<Plugin>) -> Self {
        Self {
            plugin,
            state: State::New,
            request_paused: false,
            request_bytes: 0,
            request_ended: false,
            path: Vec::new(),
            admission: Admission::default(),
            decision: None,
            decided_by: None,
            reading: None,
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
        if let Some(path) = headers.get(":path") {
            self.path = path.to_vec();
        }
        let mut attributes = Box::new(Attributes::new(headers));
        if end_of_stream || is_upgrade(attributes.headers()) {
            attributes.body = Body::Opaque;
        } else if attributes
            .headers()
            .get("content-encoding")
            .is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity"))
        {
            attributes.body = Body::Unreadable(BodyError::Encoded);
        }
        match self.admit(&mut attributes) {
            Some(next) => next,
            None => {
                self.state = State::Reading(attributes);
                if self.plugin.configuration.hold_headers {
                    Next::Pause
                } else {
                    Next::Continue
                }
            }
        }
    }

    /// `size` bytes of the request's body are here: what was kept back and what is new.
    pub fn on_request_body(&mut self, size: usize, end_of_stream: bool) -> Next {
        self.request_ended |= end_of_stream;
        if !matches!(self.state, State::Reading(_)) {
            self.request_bytes = self.request_bytes.saturating_add(size as u64);
            return Next::Continue;
        }
        let max = self.plugin.configuration.request_body.max_bytes;
        if size > max {
            return self.on_whole_body(size, Body::Unreadable(BodyError::TooLarge(max)));
        }
        if !end_of_stream {
            self.request_paused = true;
            return Next::Pause;
        }
        self.on_held_body(size)
    }

    /// The request ends with trailers.
    pub fn on_request_trailers(&mut self) -> Next {
        self.request_ended = true;
        if matches!(self.state, State::Reading(_)) {
            return self.on_held_body(usize::MAX);
        }
        Next::Continue
    }

    /// The body that was kept back is whole.
    fn on_held_body(&mut self, size: usize) -> Next {
        let max = self.plugin.configuration.request_body.max_bytes;
        let bytes = self
            .plugin
            .host
            .buffer(Buffer::RequestBody, 0, size.min(max));
        match bytes {
            Ok(bytes) => self.on_whole_body(bytes.len(), Body::read(&bytes)),
            Err(error) => {
                self.log(LogLevel::Error, &format!("request body: {error}"));
                self.on_whole_body(size, Body::Unreadable(BodyError::Unfinished))
            }
        }
    }

    /// Decides on a request whose body is known, as far as it ever will be.
    fn on_whole_body(&mut self, size: usize, body: Body) -> Next {
        self.request_bytes = self.request_bytes.saturating_add(size as u64);
        self.request_paused = false;
        let State::Reading(mut attributes) = mem::replace(&mut self.state, State::Done) else {
            return Next::Continue;
        };
        attributes.body = body;
        self.admit(&mut attributes).unwrap_or(Next::Continue)
    }

    /// Decides on the request, by what is known of it; `None` when that takes its body.
    fn admit(&mut self, attributes: &mut Attributes) -> Option<Next> {
        match admit::admit(&self.plugin, attributes) {
            Ok(Outcome::NeedsBody) => None,
            Ok(Outcome::Admitted(admission)) => {
                self.decision = Some(match &admission {
                    admission if admission.failed_open => Decision::FailedOpen,
                    admission if admission.charges.is_empty() => Decision::Unmatched,
                    _ => Decision::Admitted,
                });
                self.state = if admission.charges.is_empty() {
                    State::Done
                } else {
                    State::Admitted
                };
                self.admission = admission;
                Some(Next::Continue)
            }
            Ok(Outcome::Denied(denial)) => Some(self.deny(&denial)),
            Err(fault) => Some(self.fail(&fault)),
        }
    }

    /// Refuses the request because of a limit.
    fn deny(&mut self, denial: &Denial) -> Next {
        self.state = State::Done;
        self.decision = Some(Decision::Denied);
        let rate = self.plugin.rates.get(denial.charge.rate);
        self.decided_by = rate.map(|rate| (rate.policy, rate.limit));
        observe::log_denial(&self.plugin, denial);
        reply::deny(&self.plugin, denial);
        Next::Pause
    }

    /// Refuses the request because its policy could not be evaluated.
    fn fail(&mut self, fault: &Fault) -> Next {
        self.state = State::Done;
        self.decision = Some(Decision::Failed);
        self.log(LogLevel::Warn, &fault.to_string());
        reply::fail(&*self.plugin.host);
        Next::Pause
    }

    /// The response's headers are here: the upstream's, or those of a reply of Envoy's own.
    pub fn on_response_headers(&mut self, end_of_stream: bool) -> Next {
        if matches!(self.state, State::New | State::Done | State::Metering(_)) {
            return Next::Continue;
        }
        let headers = self.plugin.host.headers(HeaderMap::Response);
        let headers = headers.unwrap_or_else(|error| {
            self.log(LogLevel::Error, &format!("response headers: {error}"));
            Headers::default()
        });
        let status = status(&headers);
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
        let rates: Vec<usize> = self.admission.charges.iter().map(|c| c.rate).collect();
        let now = self.plugin.host.now().unwrap_or_default();
        reply::annotate(&self.plugin, &rates, &self.admission.standings, now);
        if status == 101 {
            // What follows are the frames of another protocol, in both directions.
            self.state = State::Done;
            self.charge(None);
            return Next::Continue;
        }
        self.state = State::Metering(Box::new(Meter::new(&ResponseHead {
            status,
            content_type: headers.get("content-type"),
            content_encoding: headers.get("content-encoding"),
            path: &self.path,
            bedrock_counts: BedrockCounts {
                input: headers.get("x-amzn-bedrock-input-token-count"),
                output: headers.get("x-amzn-bedrock-output-token-count"),
                cache_read_input: headers.get("x-amzn-bedrock-cache-read-input-token-count"),
                cache_write_input: headers.get("x-amzn-bedrock-cache-write-input-token-count"),
            },
        })));
        if end_of_stream {
            self.on_response_end();
        }
        Next::Continue
    }

    /// A response began while the request's body was kept back. Returns whether it is to be looked
    /// at any further.
    ///
    /// The upstream has not seen the body, so what it answers is hardly a completion. One that
    /// looks like it is admitted, or replaced by a refusal, as the policy has it without the body.
    fn on_early_response(&mut self, status: u16) -> bool {
        if !(200..300).contains(&status) {
            self.state = State::Done;
            return false;
        }
        let paused = self.request_paused;
        let body = Body::Unreadable(BodyError::Unfinished);
        if self.on_whole_body(0, body) == Next::Continue && paused {
            if let Err(error) = self.plugin.host.resume(Direction::Request) {
                self.log(LogLevel::Error, &format!("resume: {error}"));
            }
        }
        true
    }

    /// `size` bytes of the response's body are here, and go on to the client afterwards.
    pub fn on_response_body(&mut self, size: usize, end_of_stream: bool) -> Next {
        if let State::Metering(meter) = &mut self.state {
            if size > 0 {
                match self.plugin.host.buffer(Buffer::ResponseBody, 0, size) {
                    Ok(bytes) => meter.push(&bytes),
                    Err(error) => {
                        let message = format!("response body: {error}");
                        self.plugin.host.log(LogLevel::Error, &message);
                    }
                }
            }
            if end_of_stream || meter.is_final() {
                self.on_response_end();
            }
        }
        Next::Continue
    }

    /// The response ends with trailers.
    pub fn on_response_trailers(&mut self) -> Next {
        self.on_response_end();
        Next::Continue
    }

    /// Nothing more that matters will come: the exchange is charged.
    fn on_response_end(&mut self) {
        if let State::Metering(mut meter) = mem::replace(&mut self.state, State::Done) {
            meter.finish();
            self.model = meter.model().map(str::to_owned);
            let usage = &self.plugin.configuration.usage;
            let reading = settle::reading(&meter, self.request_bytes, usage.on_missing);
            self.charge(reading);
        }
    }

    /// Charges the exchange for what it used, and releases what it holds.
    fn charge(&mut self, reading: Option<Reading>) {
        let plugin = Rc::clone(&self.plugin);
        if let Some(reading) = &reading {
            let host = &*plugin.host;
            if reading.estimated {
                plugin.metrics.count(host, Count::MissingUsage);
                plugin.metrics.count(host, Count::Estimated);
            }
            plugin
                .metrics
                .tokens(host, self.model.as_deref(), &reading.usage);
        }
        let cost = reading.map_or(0, |reading| reading.usage.total_tokens);
        if let Err(error) = settle::settle(&plugin, &mut self.admission, cost) {
            plugin.metrics.count(&*plugin.host, Count::StorageErrors);
            self.log(
                LogLevel::Error,
                &format!("{cost} tokens not counted: {error}"),
            );
        }
        self.reading = reading;
    }

    /// The exchange is over, however it ended.
    pub fn on_log(&mut self) {
        match &self.state {
            State::Metering(_) => self.on_response_end(),
            State::Admitted => {
                // No response was seen. A caller who sends a whole request and hangs up before the
                // answer has had the upstream work for him all the same.
                self.state = State::Done;
                let sent = self.request_ended && self.request_bytes > 0;
                let reading =
                    (sent && self.client_left()).then(|| settle::estimate(self.request_bytes, 0));
                self.charge(reading);
            }
            State::New | State::Reading(_) | State::Done => self.state = State::Done,
        }
        observe::observe(self);
    }

    /// Whether it was the client who ended the exchange.
    fn client_left(&self) -> bool {
        let details = self.plugin.host.property(&["response", "code_details"]);
        details.is_ok_and(|details| details.is_some_and(|d| d.starts_with(b"downstream_")))
    }

    fn log(&self, level: LogLevel, message: &str) {
        self.plugin.host.log(level, message);
    }
}

/// The status of a response; 0 when it has none that can be read.
fn status(headers: &Headers) -> u16 {
    headers
        .get(":status")
        .and_then(|status| str::from_utf8(status).ok()?.parse().ok())
        .unwrap_or_default()
}

/// Whether a request asks for another protocol, so that its body is none: a WebSocket, by HTTP/1.1
/// (RFC 6455) or HTTP/2 (RFC 8441), or a tunnel. A POST that says so is read like any other: the
/// upstream may well ignore the wish.
fn is_upgrade(headers: &Headers) -> bool {
    match headers.get(":method") {
        Some(b"CONNECT") => true,
        Some(b"GET") => headers.get("upgrade").is_some(),
        _ => false,
    }
}
