//! Counters in a rate limit service: limitador, or any that speaks Envoy's protocol.
//!
//! A request asks before it goes on ([`Remote::ask`]), and what it used is told afterwards
//! ([`Remote::settle`]). Replies come by [`Remote::on_reply`], whatever has become of the exchange
//! meanwhile. What could not be told waits in a queue, and is told again from the tick.
//!
//! # What is exact
//! A settlement is told until the service says that it has it. So nothing is lost; and nothing is
//! counted twice by a service that either answers or does nothing. One that counts, and whose answer
//! then does not come in time, is told again: counting twice is the lesser evil.

pub mod backoff;
pub mod circuit;
#[cfg(test)]
pub mod limitador;
pub mod message;
mod method;
mod metrics;
pub mod queue;
mod settlement;
pub mod subject;
#[cfg(test)]
mod tests;

use crate::host::{GrpcCall, Host, HostError};
use circuit::{Change, Circuit};
use filter_config::Protocol;
use message::{Descriptor, Entry, MessageError, RateLimitRequest, Reply, ReserveRequest};
use method::Method;
use metrics::{Count, Metrics};
use prost::Message;
use queue::{Queue, Settlement};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::rc::Rc;
use subject::{Layout, Subject};

/// For how long `Reserve` is not tried again with a service that does not know it, in nanoseconds.
const WITHOUT_RESERVE: u64 = 3_600_000_000_000;

/// For how long a settlement waits for its answer at least, in milliseconds. No exchange waits for it, and what is
/// given up too soon is told, and may be counted, again.
const SETTLEMENT_MS: u32 = 1000;

/// Milliseconds between ticks: the queue is looked at, and the service probed.
const TICK_MS: u32 = 50;

/// gRPC's `UNIMPLEMENTED`.
const UNIMPLEMENTED: u32 = 12;

/// Headers of a request that go on with the calls about it.
pub type Trace = Vec<(&'static str, Vec<u8>)>;

/// A rate limit service.
pub struct Remote {
    settings: filter_config::Remote,
    circuit: Cell<Circuit>,
    queue: RefCell<Queue>,
    calls: RefCell<HashMap<u32, Call>>,
    /// Until when the service is taken not to know `Reserve`, nanoseconds since the epoch.
    without_reserve_until: Cell<u64>,
    metrics: Metrics,
    random: Cell<u64>,
}

/// What a request asks.
#[derive(Clone, Debug)]
pub struct Question {
    /// Whose counters.
    pub subject: Rc<Subject>,
    /// What is to be held there; only [`Protocol::Reserve`] can.
    pub amount: u64,
    /// For how long at most, in nanoseconds.
    pub ttl: u64,
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// There is room, or there is none.
    Reply(Reply),
    /// The service does not know the method: with another it may.
    AskAgain,
    /// There is no answer.
    Failed,
}

/// The answer to the question of a stream.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The stream.
    pub context: u32,
    /// What [`Remote::ask`] returned.
    pub token: u32,
    /// What was asked about.
    pub subject: Rc<Subject>,
    /// The answer.
    pub answer: Answer,
}

/// A call under way.
#[derive(Debug)]
enum Call {
    /// A stream waits for it.
    Question {
        context: u32,
        subject: Rc<Subject>,
        method: Method,
    },
    Settlement {
        settlement: Settlement,
        method: Method,
        /// When it was sent, nanoseconds since the epoch.
        sent: u64,
    },
    /// A settlement that was told in vain, before it is told again.
    Inquiry(Settlement),
    /// Part of a settlement that did not fit, of which less than `room` does.
    Filling { settlement: Settlement, room: u64 },
    /// Nobody waits for it: it tells whether the service is there.
    Probe,
}

/// Why a call brought nothing, or was of no use to a request.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("{0}")]
    Host(#[from] HostError),
    #[error("gRPC status {0}")]
    Status(u32),
    #[error("{0}")]
    Message(#[from] MessageError),
    #[error("an answer after {0} ms")]
    Late(u64),
}

// === impl CallError ===

impl CallError {
    /// Whether a service that is there says that the message is wrong: `INVALID_ARGUMENT`,
    /// `FAILED_PRECONDITION` or `OUT_OF_RANGE`.
    const fn is_an_answer(&self) -> bool {
        matches!(self, Self::Status(3 | 9 | 11))
    }
}

// === impl Remote ===

impl Remote {
    /// A service behind a cluster.
    ///
    /// # Errors
    /// Whatever Envoy answers to the definition of metrics; none is expected.
    pub fn new(host: &dyn Host, settings: filter_config::Remote) -> Result<Self, HostError> {
        Ok(Self {
            settings,
            circuit: Cell::default(),
            queue: RefCell::default(),
            calls: RefCell::default(),
            without_reserve_until: Cell::new(0),
            metrics: Metrics::define(host)?,
            // Never 0, of which nothing random follows.
            random: Cell::new(RandomState::new().hash_one(0_u8) | 1),
        })
    }

    /// What is spoken with the service, as it is configured.
    #[must_use]
    pub const fn settings(&self) -> &filter_config::Remote {
        &self.settings
    }

    /// How descriptors are laid out for it.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        match self.settings.protocol {
            Protocol::Reserve | Protocol::CheckReport => Layout::Together,
            Protocol::EnvoyRls => Layout::Apart,
        }
    }

    /// Whether the service is known to be away, so that it is not asked.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.circuit.get().is_open()
    }

    /// Whether a question would reserve now.
    #[must_use]
    pub fn reserves(&self, now: u64) -> bool {
        self.settings.protocol == Protocol::Reserve && now >= self.without_reserve_until.get()
    }

    /// The period of the tick that the service needs, in milliseconds.
    #[must_use]
    pub fn tick_ms(&self) -> u32 {
        match self.settings.flush_ms {
            0 => TICK_MS,
            flush => flush.min(TICK_MS),
        }
    }

    /// Asks whether there is room, for the stream `context`. The answer comes with the token that is
    /// returned; nothing comes where there is none.
    pub fn ask(
        &self,
        host: &dyn Host,
        now: u64,
        context: u32,
        question: &Question,
        trace: &Trace,
    ) -> Option<u32> {
        let subject = &question.subject;
        let domain = subject.domain.to_string();
        let (method, message) = if self.reserves(now) {
            let request = ReserveRequest {
                domain,
                descriptors: subject.descriptors.clone(),
                // A reservation of nothing is none, and is granted where nothing is left.
                amount: question.amount.max(1),
                ttl: Some(duration(question.ttl)),
            };
            (Method::Reserve, request.encode_to_vec())
        } else {
            let (method, descriptors) = match self.settings.protocol {
                Protocol::EnvoyRls => (Method::ShouldRateLimit, subject.without_hits()),
                _ => (Method::Check, subject.descriptors.clone()),
            };
            let request = RateLimitRequest {
                domain,
                descriptors,
                hits_addend: 0,
            };
            (method, request.encode_to_vec())
        };
        let call = Call::Question {
            context,
            subject: Rc::clone(subject),
            method,
        };
        self.call(host, now, method, &message, trace, call).ok()
    }

    /// A reply has come: its message, or the status of a failure. Returns the answer to a question, for
    /// the stream that asked it; if that is gone, for [`Remote::give_back`].
    pub fn on_reply(
        &self,
        host: &dyn Host,
        now: u64,
        token: u32,
        reply: Result<&[u8], u32>,
    ) -> Option<Answered> {
        let call = self.calls.borrow_mut().remove(&token)?;
        let reply = reply.map_err(CallError::Status);
        match call {
            Call::Question {
                context,
                subject,
                method,
            } => {
                let answer = self.answer(host, now, method, reply);
                Some(Answered {
                    context,
                    token,
                    subject,
                    answer,
                })
            }
            Call::Settlement {
                settlement,
                method,
                sent,
            } => {
                let took = now.saturating_sub(sent);
                self.settled(host, now, settlement, method, took, reply);
                None
            }
            Call::Inquiry(settlement) => {
                self.inquired(host, now, settlement, reply);
                None
            }
            Call::Filling { settlement, room } => {
                self.filled(host, now, settlement, room, reply);
                None
            }
            Call::Probe => {
                match reply {
                    // Whoever says so is there.
                    Ok(_) | Err(CallError::Status(UNIMPLEMENTED)) => self.succeeded(host, now),
                    Err(error) => self.failed(host, now, &error),
                }
                None
            }
        }
    }

    /// Sends what is due, and probes a service that is away.
    pub fn on_tick(&self, host: &dyn Host, now: u64) {
        if self.circuit.get().is_open() {
            let mut circuit = self.circuit.get();
            let due = circuit.probe(now, self.random());
            self.circuit.set(circuit);
            if due {
                self.probe(host, now);
            }
            return;
        }
        self.send_due(host, now);
    }

    fn answer(
        &self,
        host: &dyn Host,
        now: u64,
        method: Method,
        reply: Result<&[u8], CallError>,
    ) -> Answer {
        if method == Method::Reserve && matches!(reply, Err(CallError::Status(UNIMPLEMENTED))) {
            let until = now.saturating_add(WITHOUT_RESERVE);
            if self.without_reserve_until.replace(until) <= now {
                log::warn!(
                    "storage: {} does not know Reserve; it is asked by CheckRateLimit and Report \
                     for an hour",
                    self.settings.cluster
                );
            }
            self.succeeded(host, now);
            return Answer::AskAgain;
        }
        let reply = reply.and_then(|message| match method {
            Method::Reserve => Ok(message::reserved(message)?),
            _ => Ok(message::checked(message)?),
        });
        match reply {
            Ok(reply) => {
                self.succeeded(host, now);
                Answer::Reply(reply)
            }
            Err(error) => {
                self.failed(host, now, &error);
                Answer::Failed
            }
        }
    }

    /// Asks about a subject that no limit matches, or tells what has waited longest.
    fn probe(&self, host: &dyn Host, now: u64) {
        let oldest = self.queue.borrow_mut().take_oldest();
        if let Some(mut oldest) = oldest {
            // It is away, as if this had been told in vain.
            oldest.failures = oldest.failures.max(1);
            return self.send_all(host, now, vec![oldest]);
        }
        let entry = Entry {
            key: "tollgate.probe".to_owned(),
            value: "1".to_owned(),
        };
        let descriptor = Descriptor {
            entries: vec![entry],
        };
        let mut descriptor = descriptor.encode_to_vec();
        let method = match self.settings.protocol {
            Protocol::EnvoyRls => {
                descriptor.extend(message::NO_HITS);
                Method::ShouldRateLimit
            }
            _ => Method::Check,
        };
        let request = RateLimitRequest {
            domain: "tollgate".to_owned(),
            descriptors: vec![descriptor],
            hits_addend: 0,
        };
        let message = request.encode_to_vec();
        // A failure has been counted, and the next probe is set.
        let _ = self.call(host, now, method, &message, &Trace::new(), Call::Probe);
    }

    fn call(
        &self,
        host: &dyn Host,
        now: u64,
        method: Method,
        message: &[u8],
        trace: &Trace,
        call: Call,
    ) -> Result<u32, CallError> {
        let metadata: Vec<(&str, &[u8])> = trace
            .iter()
            .map(|(name, value)| (*name, value.as_slice()))
            .collect();
        self.metrics.count(host, Count::Calls, 1);
        let token = host.call_grpc(&GrpcCall {
            cluster: &self.settings.cluster,
            service: method.service(),
            method: method.name(),
            metadata: &metadata,
            message,
            timeout_ms: match call {
                Call::Question { .. } | Call::Inquiry(_) | Call::Probe => self.settings.timeout_ms,
                Call::Settlement { .. } | Call::Filling { .. } => {
                    self.settings.timeout_ms.max(SETTLEMENT_MS)
                }
            },
        });
        match token {
            Ok(token) => {
                self.calls.borrow_mut().insert(token, call);
                Ok(token)
            }
            Err(error) => {
                let error = CallError::Host(error);
                self.failed(host, now, &error);
                Err(error)
            }
        }
    }

    fn succeeded(&self, host: &dyn Host, now: u64) {
        let mut circuit = self.circuit.get();
        let change = circuit.succeeded();
        self.circuit.set(circuit);
        if change == Some(Change::Closed) {
            self.metrics.away(host, -1);
            log::info!(
                "storage: {} answers again; {} counters wait to be told of",
                self.settings.cluster,
                self.queue.borrow().len()
            );
            self.queue.borrow_mut().hasten(now);
        }
    }

    fn failed(&self, host: &dyn Host, now: u64, error: &CallError) {
        self.metrics.count(host, Count::Errors, 1);
        if error.is_an_answer() {
            // A caller may bring it about, who must not bring the service down for others.
            return self.succeeded(host, now);
        }
        let mut circuit = self.circuit.get();
        let change = circuit.failed(now, self.random());
        self.circuit.set(circuit);
        if change == Some(Change::Opened) {
            self.metrics.count(host, Count::Outages, 1);
            self.metrics.away(host, 1);
            log::warn!(
                "storage: {} does not answer ({error}); it is left alone but for a probe now and \
                 then, and failureMode decides",
                self.settings.cluster
            );
        }
    }

    /// A number that differs from worker to worker and from call to call (xorshift).
    fn random(&self) -> u64 {
        let mut random = self.random.get();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        self.random.set(random);
        random
    }
}

/// Nanoseconds as a duration of protobuf.
fn duration(nanoseconds: u64) -> prost_types::Duration {
    const SECOND: u64 = 1_000_000_000;
    let nanos = nanoseconds.checked_rem(SECOND).unwrap_or_default();
    prost_types::Duration {
        seconds: i64::try_from(nanoseconds / SECOND).unwrap_or(i64::MAX),
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}
