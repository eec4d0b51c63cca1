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
mod request;
mod response;
#[cfg(test)]
mod tests;

pub use crate::admit::queue::Waited;
use crate::admit::{Admission, Applicable, Asking};
use crate::attributes::Attributes;
use crate::plugin::{Decision, Plugin};
use crate::settle::{self, Reading};
use alternative::{Changed, Choice};
use filter_config::{OnMissing, Usd};
use queued::Queued;
use std::rc::Rc;
use usage_meter::Meter;
use usage_meter::meter::withhold::Withhold;
use usage_meter::request::Ask;
use usage_meter::request::path::Target;

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

/// What is known of a request that is being decided on.
#[derive(Debug)]
struct Undecided {
    attributes: Attributes,
    /// The limits that apply, where requests wait: they are looked at again.
    again: Option<Applicable>,
    /// The length of its body.
    body_bytes: Option<u64>,
    /// Its body as it came, where there are alternatives to it.
    body: Option<Vec<u8>>,
    turn: Turn,
}

/// What is known of a request that waits for a rate limit service.
#[derive(Debug)]
struct Unanswered {
    asked: About,
    asking: Asking,
    /// Whether its headers wait, and its body is to be read when they go.
    reads_body: bool,
}

/// What a rate limit service is asked about.
#[derive(Debug)]
enum About {
    /// A request as it came.
    Itself(Undecided),
    /// A request as an alternative makes it, and what else it may become.
    Alternative(Changed, Box<Choice>),
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
}
