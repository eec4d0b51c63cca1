//! The parts of the filter that outlive an exchange.

use crate::admit::Queue;
use crate::host::Host;
use crate::ledger::Ledger;
use crate::memory::Budget;
use crate::policies::Policies;
use crate::reply::Responder;
use crate::telemetry::Telemetry;
use std::cell::RefCell;
use std::rc::Rc;
use usage_meter::{DecoderMemory, Estimator, UsagePaths};

/// The parts of the filter that outlive an exchange, under one configuration.
pub(crate) struct Parts {
    /// Envoy.
    pub(crate) host: Rc<dyn Host>,
    /// The compiled policies.
    pub(crate) policies: Rc<Policies>,
    /// The memory of the worker.
    pub(crate) memory: Budget,
    /// The counters.
    pub(crate) ledger: Ledger,
    /// Metrics, filter state and log lines.
    pub(crate) telemetry: Rc<Telemetry>,
    /// Responses to clients.
    pub(crate) responder: Responder,
    /// The requests that wait for room.
    pub(crate) queue: RefCell<Queue>,
    /// What was learned of the models.
    pub(crate) estimator: Estimator,
    /// Where the configuration says that responses have their usage.
    pub(crate) usage_paths: UsagePaths,
    /// The memory that the decoders of this worker share.
    pub(crate) decoder_memory: DecoderMemory,
}
