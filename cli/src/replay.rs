//! One exchange after another through the filter itself, on the double of Envoy.
//!
//! What is decided, charged and answered is what the module does: the same code, run natively. What Envoy and its other
//! filters would do is left out: routes, authentication, retries.

mod authentication;
mod exchange;
mod metadata;

use std::{rc::Rc, time::Duration};

use filter_config::{AccessLog, AuthSource, Configuration, Storage};
use tollgate::{
    Buffer, ConfigureError, Considered, CounterState, Counters, Double, HeaderMap, Next, Plugin,
    Stream,
};

pub use self::{
    authentication::Unplaced,
    exchange::{Outcome, Request, Response},
};

/// How often a queued request is checked again, as by the module.
const QUEUE_TICK: Duration = Duration::from_millis(10);

/// The most ticks that a queued request waits for: twice the longest timeout of a queue.
const MAX_TICKS: u32 = 12_000;

/// What the filter writes into filter state begins with this.
const FILTER_STATE: &str = "tollgate.";

/// A second in nanoseconds.
const NANOS: u64 = 1_000_000_000;

/// The filter under one configuration, with its counters and its clock.
pub struct Replay {
    host: Rc<Double>,
    plugin: Plugin,
    auth: Vec<AuthSource>,
    next: u32,
    /// Whether counters that a rate limit service would have are kept here.
    pub is_service_replaced: bool,
}

/// An exchange whose request was admitted or waits in a queue.
pub struct Exchange {
    stream: Stream,
    id: u32,
    has_body: bool,
    /// The outcome as far as it is known.
    pub outcome: Outcome,
}

// === impl Replay ===

impl Replay {
    /// Returns the filter with unused counters. Its counters are its own, also where the configuration has a rate limit service.
    ///
    /// # Errors
    /// [`ConfigureError`].
    pub fn new(mut configuration: Configuration, now: u64) -> Result<Self, ConfigureError> {
        let is_service_replaced = matches!(configuration.storage, Storage::Remote(_));
        if let Storage::Remote(remote) = &configuration.storage {
            let max_counters = remote.max_counters;
            configuration.storage = Storage::Local { max_counters };
        }
        configuration.access_log = AccessLog::Keys;
        let auth = configuration.auth.clone();
        let host = Rc::new(Double::default());
        host.clock.set(now);
        let plugin = Plugin::on_double(Rc::clone(&host), configuration)?;
        Ok(Self {
            host,
            plugin,
            auth,
            next: 0,
            is_service_replaced,
        })
    }

    /// Returns the time, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.host.clock.get()
    }

    /// Sets the clock, which does not go back.
    pub fn set_time(&self, now: u64) {
        if now > self.now() {
            self.host.clock.set(now);
        }
    }

    /// Lets time pass.
    pub fn advance(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.set_time(self.now().saturating_add(nanos));
        self.plugin.on_tick();
    }

    /// Runs a whole exchange. `respond` returns the response to the request as the filter passes it on.
    ///
    /// # Errors
    /// [`Unplaced`] if the configuration reads `auth` from nowhere that the request's could be.
    pub fn exchange(
        &mut self,
        request: &Request,
        respond: impl FnOnce(&Outcome) -> Response,
    ) -> Result<Outcome, Unplaced> {
        let mut exchange = self.start(request)?;
        self.wait(&mut exchange);
        if exchange.outcome.is_admitted {
            let response = respond(&exchange.outcome);
            self.respond(&mut exchange, &response);
        }
        Ok(self.end(exchange))
    }

    /// Runs the request of an exchange.
    ///
    /// # Errors
    /// As [`exchange`](Self::exchange).
    pub fn start(&mut self, request: &Request) -> Result<Exchange, Unplaced> {
        self.place(request)?;
        self.next = self.next.wrapping_add(1).max(1);
        let mut stream = self.plugin.stream(self.next);
        let has_body = request.body.is_some();
        let mut next = stream.on_request_headers(!has_body);
        if let Some(body) = &request.body
            && self.host.replies.borrow().is_empty()
        {
            next = stream.on_request_body(body.len(), true);
        }
        let mut exchange = Exchange {
            stream,
            id: self.next,
            has_body,
            outcome: Outcome::default(),
        };
        self.decided(&mut exchange, next == Next::Continue);
        Ok(exchange)
    }

    /// Lets time pass until a queued request is decided on.
    pub fn wait(&self, exchange: &mut Exchange) {
        let began = self.now();
        for _ in 0..MAX_TICKS {
            if !exchange.stream.is_queued() {
                break;
            }
            self.advance(QUEUE_TICK);
            self.poll_all(&mut [exchange]);
        }
        exchange.outcome.queued = Duration::from_nanos(self.now().saturating_sub(began));
    }

    /// Checks queued requests again, all that there are.
    pub fn poll_all(&self, exchanges: &mut [&mut Exchange]) {
        self.plugin.poll_queue(|id| {
            let mut exchanges = exchanges.iter_mut();
            let exchange = exchanges.find(|exchange| exchange.id == id)?;
            self.host.replies.borrow_mut().clear();
            self.host.resumed.borrow_mut().clear();
            let poll = exchange.stream.poll_queue();
            let is_resumed = !self.host.resumed.borrow().is_empty();
            self.decided(exchange, is_resumed);
            Some(poll)
        });
    }

    /// Runs the response to an admitted request.
    pub fn respond(&self, exchange: &mut Exchange, response: &Response) {
        let host = &self.host;
        let status = response.status.to_string();
        let mut headers = vec![(":status", status.as_str())];
        let given = response.headers.iter();
        headers.extend(given.map(|(name, value)| (name.as_str(), value.as_str())));
        host.set_headers(HeaderMap::Response, &headers);
        host.set_buffer(Buffer::ResponseBody, &response.body);
        let stream = &mut exchange.stream;
        let is_empty = response.body.is_empty();
        let _ = stream.on_response_headers(is_empty);
        if !is_empty {
            let _ = stream.on_response_body(response.body.len(), true);
        }
        let outcome = &mut exchange.outcome;
        outcome.status = response.status;
        outcome.headers = self.headers(HeaderMap::Response);
        outcome.body = self.buffer(Buffer::ResponseBody);
    }

    /// Ends an exchange.
    #[must_use]
    pub fn end(&self, mut exchange: Exchange) -> Outcome {
        exchange.stream.on_log();
        let mut state = self.host.filter_state.borrow_mut();
        let outcome = &mut exchange.outcome;
        for (key, value) in std::mem::take(&mut *state) {
            if let Some(name) = key.strip_prefix(FILTER_STATE) {
                outcome.values.insert(name.to_owned(), value);
            }
        }
        // What is recorded of each exchange would grow without bound.
        self.host.calls.borrow_mut().clear();
        self.host.resumed.borrow_mut().clear();
        exchange.outcome
    }

    /// Returns what the decision on a request considers, and the state of its counters now.
    ///
    /// # Errors
    /// As [`exchange`](Self::exchange).
    pub fn consider(&mut self, request: &Request) -> Result<Considered, Unplaced> {
        self.place(request)?;
        let mut stream = self.plugin.stream(0);
        let considered = stream.consider(request.body.as_deref());
        self.host.filter_state.borrow_mut().clear();
        self.host.calls.borrow_mut().clear();
        Ok(considered)
    }

    /// Returns how counters stand.
    #[must_use]
    pub fn states(&self, counters: &Counters) -> Vec<CounterState> {
        let states = self.plugin.stream(0).states(counters);
        self.host.calls.borrow_mut().clear();
        states
    }

    /// Checks queued requests again: those that may have room now, and those whose time is up.
    pub fn tick(&self) {
        self.plugin.on_tick();
    }

    /// Puts a request where the filter reads it.
    fn place(&self, request: &Request) -> Result<(), Unplaced> {
        let host = &self.host;
        host.replies.borrow_mut().clear();
        host.filter_state.borrow_mut().clear();
        let mut properties = request.properties(self.now());
        let mut headers = request.pairs();
        if let Some(auth) = &request.auth {
            let metadata = &request.metadata;
            authentication::place(&self.auth, auth, metadata, &mut headers, &mut properties)?;
        } else if !request.metadata.is_empty() {
            let bytes = metadata::message(&request.metadata);
            properties.insert(vec!["metadata".to_owned()], bytes);
        }
        *host.properties.borrow_mut() = properties;
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        host.set_headers(HeaderMap::Request, &headers);
        host.set_headers(HeaderMap::Response, &[]);
        host.set_buffer(
            Buffer::RequestBody,
            request.body.as_deref().unwrap_or_default(),
        );
        Ok(())
    }

    /// Takes note of what became of a request.
    fn decided(&self, exchange: &mut Exchange, passes: bool) {
        let reply = self.host.replies.borrow_mut().pop();
        let outcome = &mut exchange.outcome;
        if let Some(reply) = reply {
            outcome.status = reply.status;
            outcome.details = Some(reply.details);
            outcome.headers = reply.headers;
            outcome.body = reply.body.into_bytes();
        } else if passes && !exchange.stream.is_queued() {
            outcome.is_admitted = true;
            outcome.request_headers = self.headers(HeaderMap::Request);
            if exchange.has_body {
                outcome.request_body = self.buffer(Buffer::RequestBody);
            }
        }
    }

    fn headers(&self, map: HeaderMap) -> Vec<(String, String)> {
        let headers = self.host.headers.borrow();
        let headers = headers.get(&map).into_iter().flatten();
        headers
            .filter(|(name, _)| !name.starts_with(':') || map == HeaderMap::Request)
            .map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into_owned()))
            .collect()
    }

    fn buffer(&self, buffer: Buffer) -> Vec<u8> {
        let buffers = self.host.buffers.borrow();
        buffers.get(&buffer).cloned().unwrap_or_default()
    }
}

// === impl Exchange ===

impl Exchange {
    /// Returns the counters that the exchange is charged to, until it ends.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.stream.counters()
    }

    /// Returns whether the request waits in a queue.
    #[must_use]
    pub const fn is_queued(&self) -> bool {
        self.stream.is_queued()
    }
}

/// Returns seconds since the Unix epoch in nanoseconds.
#[must_use]
pub const fn seconds(seconds: u64) -> u64 {
    seconds.saturating_mul(NANOS)
}
