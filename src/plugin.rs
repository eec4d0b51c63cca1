//! The plugin: composes the parts of the filter from a configuration.

mod structure;
#[cfg(test)]
mod tests;

use crate::admit::QueuePoll;
use crate::host::{FilterState, Host, HostError};
use crate::ledger::Ledger;
use crate::memory::Budget;
use crate::policies::Policies;
use crate::reply::Responder;
use crate::settle::{self, DeferredCost};
use crate::stream::{Parts, REDIRECT_KEY, Stream};
use crate::telemetry::Telemetry;
use filter_config::{Configuration, ValidationErrors};
use limits::service::{CallId, CheckReply};
use limits::{Nanos, SharedDataError};
use std::cell::RefCell;
use std::rc::Rc;
use usage_meter::{DecoderMemory, Estimator, TooManyPointers, UsageNumber, UsagePaths};

/// How often queued requests are checked again.
const QUEUE_TICK: Nanos = Nanos::from_millis(10);

/// How often metrics are written to Envoy, at least.
const METRICS_TICK: Nanos = Nanos::SECOND;

/// The most requests that are checked again in one tick, except those whose time is up.
const MAX_POLLS: usize = 64;

/// The most replies to checks that are given to streams in one callback. The reply to a check that waited for
/// another stream's call is followed by its decision: many decisions in one callback would occupy the worker for too long.
const MAX_REPLIES: usize = 128;

/// The filter under one configuration. Exchanges that began under one configuration end under it.
pub struct Plugin {
    parts: Rc<Parts>,
}

/// Why a plugin could not be configured.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// The configuration is invalid.
    #[error("{0}")]
    Invalid(ValidationErrors),
    /// The policies and `usage.paths` have too many JSON pointers.
    #[error("dataExtraction.response.totalTokens, usage.paths: {0}")]
    UsagePaths(#[from] TooManyPointers),
    /// The secret of the counter hash could be neither read nor written.
    #[error("shared data: {0}")]
    SharedData(#[from] SharedDataError),
    /// Envoy failed.
    #[error("{0}: {1}")]
    Host(&'static str, HostError),
}

// === impl Plugin ===

impl Plugin {
    /// Reads a configuration, JSON or a serialized `Struct`, and prepares everything for exchanges, whose
    /// decoders share memory of their own.
    ///
    /// # Errors
    /// [`ConfigureError`]; the configuration that was in force before is not affected.
    pub fn configure(host: Rc<dyn Host>, bytes: &[u8]) -> Result<Self, ConfigureError> {
        Self::configure_with(host, &DecoderMemory::default(), bytes)
    }

    /// Reads a configuration as [`configure`](Self::configure) does. Decoders take `decoder_memory`, which is
    /// shared with the other configurations of the worker.
    ///
    /// # Errors
    /// As [`configure`](Self::configure).
    pub fn configure_with(
        host: Rc<dyn Host>,
        decoder_memory: &DecoderMemory,
        bytes: &[u8],
    ) -> Result<Self, ConfigureError> {
        let configuration = structure::json(bytes);
        let configuration =
            filter_config::parse(&configuration).map_err(ConfigureError::Invalid)?;
        Self::with_configuration(host, decoder_memory, configuration)
    }

    /// Prepares everything for exchanges under a configuration that was read.
    fn with_configuration(
        host: Rc<dyn Host>,
        decoder_memory: &DecoderMemory,
        configuration: Configuration,
    ) -> Result<Self, ConfigureError> {
        for warning in &configuration.warnings {
            Telemetry::configuration_warning(warning);
        }
        let usage_paths = usage_paths(&configuration)?;
        let failed = |what| move |error| ConfigureError::Host(what, error);
        let telemetry = Telemetry::define(Rc::clone(&host), &configuration);
        let telemetry = Rc::new(telemetry.map_err(failed("metrics"))?);
        let policies = Rc::new(Policies::compile(&host, configuration)?);
        let ledger = Ledger::new(
            Rc::clone(&host),
            Rc::clone(&policies),
            Rc::clone(&telemetry),
        );
        let ledger = ledger.map_err(failed("metrics"))?;
        let queue_tick = policies.needs().queue.then_some(QUEUE_TICK);
        let tick = queue_tick.or_else(|| ledger.tick_period());
        let tick = tick.unwrap_or(METRICS_TICK).min(METRICS_TICK);
        host.set_tick_period(tick).map_err(failed("tick"))?;
        if let Err(error) = host.declare_filter_state(REDIRECT_KEY, FilterState::OfRequest) {
            // A request that Envoy redirects is then counted once more.
            Telemetry::host_call_failed("declare_property", error);
        }
        let parts = Parts {
            responder: Responder::new(Rc::clone(&host), Rc::clone(&policies)),
            queue: RefCell::default(),
            estimator: Estimator::default(),
            memory: Budget::new(policies.configuration().memory.per_worker),
            host,
            policies,
            ledger,
            telemetry,
            usage_paths,
            decoder_memory: decoder_memory.clone(),
        };
        Ok(Self {
            parts: Rc::new(parts),
        })
    }

    /// Prepares everything for exchanges on a double under a configuration that was read.
    ///
    /// # Errors
    /// As [`configure`](Self::configure).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn on_double(
        host: Rc<crate::host::double::Double>,
        configuration: Configuration,
    ) -> Result<Self, ConfigureError> {
        Self::with_configuration(host, &DecoderMemory::default(), configuration)
    }

    /// Returns an exchange that is about to begin, with Envoy's identifier of its context.
    #[must_use]
    pub fn stream(&self, id: u32) -> Stream {
        Stream::new(Rc::clone(&self.parts), id)
    }

    /// Sends what is due to the rate limit service, settles expired deferred charges, and writes the metrics.
    pub fn on_tick(&self) {
        let Parts {
            policies,
            ledger,
            telemetry,
            ..
        } = &*self.parts;
        ledger.on_tick();
        let now = ledger.now().unwrap_or_default();
        for deferred in ledger.take_expired(now) {
            let cost = DeferredCost::Estimate;
            settle::settle_deferred(policies, ledger, telemetry, deferred, cost);
        }
        telemetry.flush();
    }

    /// Takes a reply of the rate limit service: its message, or the gRPC status of a failure. Returns
    /// the reply to a check, for the stream that waits for it.
    #[must_use]
    pub fn on_reply(&self, call: CallId, reply: Result<&[u8], u32>) -> Option<CheckReply> {
        self.parts.ledger.on_reply(call, reply)
    }

    /// Gives streams the replies to their checks, by `deliver`: this one, and those to checks that have waited for
    /// what another has shown. A reply that `deliver` returns is to a stream that is gone; what it grants is released.
    /// To be called after each [`Plugin::on_reply`], and at each tick: the number of replies is bounded, and the rest
    /// follows later.
    pub fn deliver_replies(
        &self,
        mut next: Option<CheckReply>,
        mut deliver: impl FnMut(CheckReply) -> Option<CheckReply>,
    ) {
        let ledger = &self.parts.ledger;
        for _ in 0..MAX_REPLIES {
            let Some(reply) = next.take().or_else(|| ledger.next_ready()) else {
                return;
            };
            if let Some(reply) = deliver(reply) {
                ledger.release_reply(reply);
            }
        }
    }

    /// Releases what a reply grants to a stream that is gone.
    pub fn release_reply(&self, reply: CheckReply) {
        self.parts.ledger.release_reply(reply);
    }

    /// Sends everything that is queued for the rate limit service, because the configuration is no
    /// longer in force. Returns whether nothing is left.
    #[must_use]
    pub fn drain(&self) -> bool {
        self.parts.ledger.drain()
    }

    /// Returns whether nothing is left to send to the rate limit service.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.parts.ledger.is_drained()
    }

    /// Returns whether both have the same rate limit service: one can send what is queued by the other.
    #[must_use]
    pub fn is_of_same_service(&self, other: &Self) -> bool {
        let ledger = &self.parts.ledger;
        ledger.is_of_same_service(&other.parts.ledger)
    }

    /// Hands what is queued for the rate limit service to a plugin that has the same.
    pub fn hand_over(&self, successor: &Self) {
        self.parts.ledger.hand_over(&successor.parts.ledger);
    }

    /// Ends a configuration that has not sent all: hands over what is left, or else gives it up and logs it.
    pub fn end(&self, successor: Option<&Self>) {
        let successor = successor.map(|it| &it.parts.ledger);
        self.parts.ledger.end(successor);
    }

    /// Checks queued requests again, by `poll`: those that have lost their places, those that are first in
    /// their lines, and those whose time is up. A stream that `poll` does not know leaves the queue.
    pub fn poll_queue(&self, mut poll: impl FnMut(u32) -> Option<QueuePoll>) {
        let Parts {
            ledger,
            telemetry,
            queue,
            ..
        } = &*self.parts;
        let displaced = queue.borrow_mut().take_displaced();
        if queue.borrow().is_empty() && displaced.is_empty() {
            return;
        }
        let mut poll = |stream: u32| {
            poll(stream).unwrap_or_else(|| {
                if queue.borrow_mut().remove_stream(stream) {
                    telemetry.dequeued();
                }
                QueuePoll::Done
            })
        };
        for stream in displaced {
            poll(stream);
        }
        let mut polls = MAX_POLLS;
        loop {
            let firsts = queue.borrow_mut().poll_first(polls);
            polls = polls.saturating_sub(firsts.len());
            // Where one has left its line, the next may have room.
            let mut has_progress = false;
            for stream in firsts {
                has_progress |= poll(stream) != QueuePoll::Pending;
            }
            if !has_progress {
                break;
            }
        }
        let now = ledger.now().unwrap_or_default();
        let overdue = queue.borrow().overdue(now);
        for stream in overdue {
            poll(stream);
        }
    }
}

/// Returns the pointers to usage of all policies, then of the configuration: an exchange is metered once.
fn usage_paths(configuration: &Configuration) -> Result<UsagePaths, TooManyPointers> {
    let policies = configuration.policies.iter();
    let totals = policies.flat_map(|policy| &policy.total_tokens);
    let totals = totals.map(|pointer| (UsageNumber::Total, pointer));
    let others = configuration.usage.paths.iter();
    let mut pointers = totals
        .chain(others.map(|(number, pointer)| (*number, pointer)))
        .peekable();
    if pointers.peek().is_none() {
        return Ok(UsagePaths::default());
    }
    UsagePaths::new(pointers)
}
