//! Admission where a rate limit service has the counters.
//!
//! This Envoy keeps its own count of everything beside the service, as it would without one: what its
//! requests hold, and what they have used. The service has the last word on what is used, this Envoy
//! on how many of its own requests go at once where the service cannot hold anything; and while the
//! service is away, there is a count to go by.

mod conclusion;
mod groups;
mod own;

use super::{Admission, Fault, Outcome, Values, claim_in_shadow};
use crate::attributes::Attributes;
use crate::host::Headers;
use crate::plugin::{Charge, Counts, Plugin, Service};
use filter_config::RemoteFailureMode;
use limits::Timestamp;
use limits::service::{
    CallId, CheckReply, CheckRequest, CheckResult, DescriptorSet, Metadata, Reply, ReservationId,
};
use own::{Rule, count_request};
use std::rc::Rc;

/// Headers of a request that go on with the calls about it.
const TRACED: [&str; 9] = [
    "x-request-id",
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
];

/// Bytes of the longest value that goes on.
const TRACED_BYTES: usize = 1024;

/// Counters at the service that an exchange is charged to.
#[derive(Debug)]
pub struct Asked {
    /// The counters.
    pub subject: Rc<DescriptorSet>,
    /// What the service holds for the exchange.
    pub reservation: Option<ReservationId>,
    /// The position among the charges of one of these counters: all of them cost the same.
    pub charge: usize,
    /// What the question itself has added.
    pub added: u64,
}

/// What a service wants callers to be told: names in lower case, values that a header can have.
pub type Told = Vec<(String, Vec<u8>)>;

/// An exchange that waits for a service.
#[derive(Debug)]
pub struct Asking {
    admission: Admission,
    pending: Vec<Pending>,
    context: u32,
}

/// A question of an exchange.
#[derive(Debug)]
struct Pending {
    question: CheckRequest,
    /// The positions of the counters among the charges.
    charges: Vec<usize>,
    /// The policies and limits of the descriptors, where each has one of its own.
    limits: Vec<(usize, usize)>,
    /// Whether the limits only count and report.
    shadow: bool,
    /// What the call is known by while it is under way.
    token: Option<CallId>,
    answer: Option<CheckResult>,
}

/// Decides on a request whose charges are in `admission`, each with what it is to hold; or asks the
/// service. Where the stream cannot wait for an answer, this Envoy's own count decides.
pub(super) fn look(
    plugin: &Plugin,
    service: &Service,
    attributes: &Attributes,
    mut admission: Admission,
    shadowed: Vec<Charge>,
    values: &[Values],
    waits: Option<u32>,
) -> Result<Outcome, Fault> {
    let remote = &service.remote;
    let now = plugin.host.now()?;
    let counted = |charge: &Charge| is_counted(plugin, charge);
    let is_away = remote.is_circuit_open() && admission.charges.iter().any(counted);
    let mode = service.failure_mode;
    let rule = match mode {
        RemoteFailureMode::Deny if is_away => return Err(Fault::ServiceUnavailable),
        RemoteFailureMode::Allow if is_away => Rule::Never,
        RemoteFailureMode::Local if is_away => Rule::Alone,
        _ if waits.is_none() => Rule::Alone,
        _ if remote.reserves(Timestamp::new(now)) => Rule::Never,
        _ => Rule::Beside,
    };
    match super::or_failure_mode(plugin, own::hold(plugin, now, rule, &mut admission))? {
        Some(None) => {}
        Some(Some(denial)) => return Ok(Outcome::Denied(denial, Told::new())),
        // The service still knows what it has counted.
        None => admission.failed_open = true,
    }
    let firm = admission.charges.len();
    for charge in shadowed {
        claim_in_shadow(plugin, now, charge, &mut admission);
    }
    admission.failed_open |= is_away && rule == Rule::Never;
    let groups = groups::groups(plugin, service, &admission, firm, values);
    let context = match waits {
        Some(context) if !groups.is_empty() && !remote.is_circuit_open() => context,
        _ => {
            admission.asked = groups.into_iter().map(Pending::unasked).collect();
            count_request(plugin, service, now, &mut admission);
            return Ok(Outcome::Admitted(admission));
        }
    };
    admission.trace = trace(attributes.headers());
    let mut asking = Asking {
        admission,
        pending: groups,
        context,
    };
    for index in 0..asking.pending.len() {
        asking.ask(service, now, index);
    }
    asking.conclude(plugin, service, now)
}

/// Whether a charge is for what the service counts. Requests in flight are this Envoy's own.
pub(super) fn is_counted(plugin: &Plugin, charge: &Charge) -> bool {
    let rate = plugin.rates.get(charge.rate);
    rate.is_some_and(|rate| rate.counts != Counts::InFlight)
}

/// The headers of a request that go on with the calls about it.
fn trace(headers: &Headers) -> Metadata {
    let mut trace = Metadata::new();
    for name in TRACED {
        let value = headers.get(name).unwrap_or_default();
        // What gRPC admits as the value of metadata.
        let is_plain = value.iter().all(|byte| (b' '..=b'~').contains(byte));
        if !value.is_empty() && value.len() <= TRACED_BYTES && is_plain {
            trace.push((name, value.to_vec()));
        }
    }
    trace
}

// === impl Pending ===

impl Pending {
    /// The counters of a question that is not asked, or not answered.
    fn unasked(self) -> Asked {
        Asked {
            subject: self.question.descriptors,
            reservation: None,
            charge: self.charges.first().copied().unwrap_or_default(),
            added: 0,
        }
    }

    /// The counters of a question, with what was answered.
    fn asked(self, adds: bool) -> Asked {
        let reply = self.reply();
        let reservation = reply.and_then(|reply| reply.reservation.clone());
        // Whoever does not tell how descriptors stand does not know of questions that add nothing.
        let added = adds && reply.is_some_and(|reply| reply.statuses.is_empty());
        Asked {
            reservation,
            added: added.into(),
            ..self.unasked()
        }
    }

    fn is_open(&self) -> bool {
        self.token.is_some() && self.answer.is_none()
    }

    /// The reply, unless there is none.
    fn reply(&self) -> Option<&Reply> {
        match &self.answer {
            Some(CheckResult::Reply(reply)) => Some(reply),
            _ => None,
        }
    }
}

// === impl Asking ===

impl Asking {
    fn ask(&mut self, service: &Service, now: u64, index: usize) {
        let Some(pending) = self.pending.get_mut(index) else {
            return;
        };
        pending.token = service.remote.check(
            Timestamp::new(now),
            self.context,
            &pending.question,
            &self.admission.trace,
        );
        pending.answer = pending.token.is_none().then_some(CheckResult::Failed);
    }

    /// An answer has come. Returns what becomes of the request, or the exchange if it waits on.
    ///
    /// # Errors
    /// [`Fault`], where there is no answer and the failure mode is to deny.
    pub fn answered(mut self, plugin: &Plugin, answered: CheckReply) -> Result<Outcome, Fault> {
        let Some(service) = &plugin.service else {
            return Ok(Outcome::Asking(Box::new(self)));
        };
        let now = plugin.host.now()?;
        let asked = |pending: &Pending| pending.is_open() && pending.token == Some(answered.call);
        let Some(index) = self.pending.iter().position(asked) else {
            service.remote.release(Timestamp::new(now), answered);
            return Ok(Outcome::Asking(Box::new(self)));
        };
        let standings = &self.admission.standings;
        if let Some(pending) = self.pending.get_mut(index) {
            pending.answer = Some(answered.result);
            let reserves = service.remote.reserves(Timestamp::new(now));
            let alone = pending.charges.iter().all(|&charge| {
                let standing = standings.get(charge);
                standing.is_some_and(|standing| standing.reserved == 0)
            });
            if pending.answer == Some(CheckResult::Retry) {
                self.ask(service, now, index);
            } else if reserves
                && alone
                && pending.refused().is_some()
                && pending.question.amount > 1
            {
                // A lone request goes while anything is left, whatever it is expected to use.
                pending.question.amount = 1;
                self.ask(service, now, index);
            }
        }
        self.conclude(plugin, service, now)
    }
}
