//! The states of an exchange, each with what only it needs.

use super::grant::PendingGrant;
use super::held_body::WholeBody;
use crate::admit::Applicable;
use crate::attributes::Attributes;
use crate::ledger::{
    Admission, Demands, PendingCheck, Rejection, RejectionDetails, ResponseHeaders,
};
use limits::Timestamp;
use usage_meter::Meter;
use usage_meter::request::Parameters;

/// The state of an exchange.
#[derive(Debug)]
pub(super) enum State {
    /// The request has not begun.
    New,
    /// The request waits for its body, which decides on it.
    AwaitingBody(Box<AwaitingBody>),
    /// The request was admitted at its headers; its body is only read.
    ReadingBody(Box<ReadingBody>),
    /// The request waits in a queue for room at a counter.
    Queued(Box<QueuedRequest>),
    /// The request waits for a rate limit service, which decides on it.
    AwaitingService(Box<AwaitingService>),
    /// The request was admitted; there is no response yet.
    Admitted(Box<Admitted>),
    /// The response is metered as it passes.
    Metering(Box<Metering>),
    /// The response switched to another protocol: nothing is metered, and reservations stay.
    Upgraded(Box<Admitted>),
    /// A request to the usage endpoint waits for its body, which says what a counter is granted.
    Granting(Box<PendingGrant>),
    /// Nothing is left to do but to report the exchange.
    Done,
}

/// When a request is decided on, and hence how it can wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// In the header phase: no body follows, or none that is read.
    Headers,
    /// In the header phase, although the body is read afterwards.
    HeadersBeforeBody,
    /// In the body phase.
    Body,
    /// When the response has begun: nothing can wait any more.
    Response,
}

/// A request that waits for its body.
#[derive(Debug)]
pub(super) struct AwaitingBody {
    pub(super) attributes: Attributes,
    /// The limits that apply, if that does not depend on the body.
    pub(super) applicable: Option<Applicable>,
}

/// A request that was admitted before its body, which is only read for the model that it names.
#[derive(Debug)]
pub(super) struct ReadingBody {
    pub(super) attributes: Attributes,
    pub(super) admitted: Box<Admitted>,
}

/// A request that is being decided on.
#[derive(Debug)]
pub(super) struct PendingDecision {
    pub(super) attributes: Attributes,
    /// What the request demands, where requests can be queued: it is checked again.
    pub(super) recheck: Option<Demands>,
    /// The length of the request's body.
    pub(super) body_bytes: Option<u64>,
    /// The request's body as it was received, where there are fallbacks.
    pub(super) body: Option<WholeBody>,
    pub(super) phase: Phase,
}

/// A request that waits for a rate limit service.
#[derive(Debug)]
pub(super) struct AwaitingService {
    pub(super) target: CheckTarget,
    pub(super) check: Box<PendingCheck>,
    /// Whether only its headers wait, and its body is to be read once they are passed on.
    pub(super) reads_body: bool,
}

/// What a pending check is about.
#[derive(Debug)]
pub(super) enum CheckTarget {
    /// The request as it was received.
    Original(PendingDecision),
    /// The request as a fallback changes it, and what else can be tried.
    Fallback(ChangedRequest, Box<FallbackChoice>),
}

/// A request that waits in a queue.
#[derive(Debug)]
pub(super) struct QueuedRequest {
    pub(super) decision: PendingDecision,
    /// The rejection at queue timeout.
    pub(super) rejection: Rejection,
    /// Headers of a rate limit service for that rejection.
    pub(super) response_headers: ResponseHeaders,
    /// When it was queued.
    pub(super) joined_at: Timestamp,
    /// When it stops waiting.
    pub(super) until: Timestamp,
    /// What this Envoy had seen used of the counter when there was no room for this request itself;
    /// `None` where others were ahead of it.
    pub(super) known_use: Option<u64>,
    /// The pending check at a rate limit service, if there is one.
    pub(super) check: Option<Box<PendingCheck>>,
}

/// A request without room, and the fallbacks that are left to try.
#[derive(Debug)]
pub(super) struct FallbackChoice {
    /// The request as it was received.
    pub(super) original: PendingDecision,
    /// The parameters in its body.
    pub(super) parameters: Parameters,
    pub(super) rejection: Rejection,
    pub(super) details: RejectionDetails,
    /// The number of fallbacks that were tried.
    pub(super) tried: usize,
}

/// A request as a fallback changes it.
#[derive(Debug)]
pub(super) struct ChangedRequest {
    pub(super) attributes: Attributes,
    /// The body that replaces the request's own.
    pub(super) body: Option<Vec<u8>>,
    /// The parameters of the request as it is now.
    pub(super) parameters: Parameters,
}

/// An admitted request.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) admission: Admission,
    /// The attributes that costs read when the exchange ends.
    pub(super) retained: Option<Box<Attributes>>,
}

/// A response that is being metered.
#[derive(Debug)]
pub(super) struct Metering {
    pub(super) admitted: Box<Admitted>,
    pub(super) meter: Meter,
    /// Whether the exchange was charged for what is reported so far.
    pub(super) is_charged: bool,
    /// When the report that is likely to be the last was read: little but the end follows it.
    pub(super) reported_at: Option<Timestamp>,
    /// Whether there was no memory to read all of it.
    pub(super) is_unread: bool,
    /// Whether its charge is stored, because the response is generated in the background.
    pub(super) deferral: Deferral,
}

/// The deferral of a charge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Deferral {
    /// It was not tried.
    #[default]
    None,
    /// The charge could not be stored.
    Failed,
    /// The charge is stored under this key.
    Stored(u128),
}

// === impl State ===

impl State {
    /// Returns whether the request has no decision yet.
    pub(super) const fn is_pending(&self) -> bool {
        matches!(
            self,
            Self::AwaitingBody(_) | Self::AwaitingService(_) | Self::Queued(_)
        )
    }
}

// === impl AwaitingBody ===

impl AwaitingBody {
    /// Returns a request that is to wait for its body, without memory that it does not use.
    pub(super) fn new(mut attributes: Attributes, mut applicable: Applicable) -> Self {
        attributes.shrink();
        applicable.shrink();
        Self {
            attributes,
            applicable: (!applicable.depends_on_body).then_some(applicable),
        }
    }
}
