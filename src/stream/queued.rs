//! A request that waits in a queue for room at a counter, until it is admitted or its time is up.

use super::machine::{Next, Stream};
use super::parts::Parts;
use super::state::{PendingDecision, Phase, QueuedRequest, State};
use crate::admit::{Arrival, Place, QueuePoll};
use crate::attributes::Attributes;
use crate::ledger::{Check, CounterId, LedgerError, Rejection, RejectionDetails, Verdict};
use crate::telemetry::Decision;
use filter_config::{Exceeded, Queue};
use limits::service::CheckReply;
use limits::{Nanos, Timestamp};
use std::mem;

/// How long it takes until a rate limit service is called again, if nothing is known to have changed
/// meanwhile: what other Envoys do is not known.
const RECHECK_INTERVAL: Nanos = Nanos::SECOND;

// === impl QueuedRequest ===

impl QueuedRequest {
    /// Returns the counter at which it waits.
    const fn counter(&self) -> CounterId {
        self.rejection.charge.id()
    }

    /// When a rate limit service is called again, whatever is known.
    fn recheck_at(&self) -> Timestamp {
        let now = self.rejection.now;
        let resets_at = self.rejection.charge.counter.standing.resets_at;
        let at = now.saturating_add(RECHECK_INTERVAL);
        if resets_at > now {
            at.min(resets_at)
        } else {
            at
        }
    }
}

// === impl Stream ===

impl Stream {
    /// Joins the end of the queue at the counter that rejects. Returns when the request stops waiting;
    /// `None` if there was no place.
    pub(super) fn join_queue(
        &self,
        queue: &Queue,
        rejection: &Rejection,
        attributes: &mut Attributes,
    ) -> Option<Timestamp> {
        let Parts {
            host,
            policies,
            telemetry,
            queue: queued,
            ..
        } = &*self.parts;
        let Rejection { charge, now } = rejection;
        let until = now.saturating_add(queue.timeout.into());
        let arrival = Arrival {
            stream: self.id,
            caller: policies.caller(attributes, &**host),
            until,
        };
        let standing = charge.counter.standing;
        let place = queued
            .borrow_mut()
            .push(charge.id(), arrival, queue.depth, standing);
        match place {
            Place::None => return None,
            Place::Free => telemetry.queued(),
            // One has joined and one has left.
            Place::Taken => {}
        }
        Some(until)
    }

    /// Waits in the queue that the request has joined, until its time is up.
    pub(super) fn wait_in_queue(
        &mut self,
        mut decision: PendingDecision,
        rejection: Rejection,
        details: RejectionDetails,
        until: Timestamp,
    ) -> Next {
        // A queued request has no fallbacks, and there may be many. If its time is up, only the limit that has no room
        // is reported.
        decision.body = None;
        let Parts {
            ledger,
            queue: queued,
            ..
        } = &*self.parts;
        let next = self.wait_in(decision.phase);
        let is_first = queued
            .borrow()
            .ahead(rejection.charge.id(), Some(self.id))
            .is_none();
        let known_use = is_first.then(|| ledger.used_at_service(&rejection.charge));
        self.state = State::Queued(Box::new(QueuedRequest {
            decision,
            joined_at: rejection.now,
            until,
            rejection,
            response_headers: details.headers,
            known_use: known_use.flatten(),
            check: None,
        }));
        next
    }

    /// Takes a request out of the queue, and gives up its pending check.
    pub(super) fn leave_queue(&self, queued: &mut QueuedRequest) {
        self.remove_from_queue(queued.counter());
        if let Some(mut check) = queued.check.take() {
            check.abandon(&self.parts.ledger);
        }
    }

    fn remove_from_queue(&self, counter: CounterId) {
        let mut queue = self.parts.queue.borrow_mut();
        if queue.remove(counter, self.id) {
            self.parts.telemetry.dequeued();
        }
    }

    /// Checks a queued request again: it is admitted if there is room now and no other request is
    /// ahead of it, and rejected if its time is up or it has lost its place. Host calls must concern this
    /// stream.
    pub fn poll_queue(&mut self) -> QueuePoll {
        let mut queued = match mem::replace(&mut self.state, State::Done) {
            State::Queued(queued) => queued,
            other => {
                self.state = other;
                return QueuePoll::Done;
            }
        };
        let is_displaced = {
            let queue = self.parts.queue.borrow();
            !queue.contains(queued.counter(), self.id)
        };
        if is_displaced {
            self.state = State::Queued(queued);
            self.reject_queued();
            return QueuePoll::Done;
        }
        if queued.check.is_some() || !self.may_have_room(&mut queued) {
            self.state = State::Queued(queued);
            return QueuePoll::Pending;
        }
        let Some(demands) = queued.decision.recheck.clone() else {
            // Unreachable: a queued request has demands.
            self.state = State::Queued(queued);
            self.reject_queued();
            return QueuePoll::Done;
        };
        let checked = self.check(&queued.decision.attributes, demands, Some(self.id));
        self.follow(queued, checked)
    }

    /// Returns whether a check may succeed. A rate limit service is called when this Envoy has seen something
    /// used of the counter, when its window ends, once in a while, and when the time is up.
    fn may_have_room(&self, queued: &mut QueuedRequest) -> bool {
        let ledger = &self.parts.ledger;
        let Some(used) = ledger.used_at_service(&queued.rejection.charge) else {
            // This Envoy's own count decides, and checking it is cheap.
            return true;
        };
        let known = queued.known_use.replace(used);
        let now = ledger.now().unwrap_or_default();
        known != Some(used) || now >= queued.recheck_at().min(queued.until)
    }

    /// Takes the service's reply about a queued request.
    pub(super) fn on_reply_while_queued(
        &mut self,
        mut queued: Box<QueuedRequest>,
        reply: CheckReply,
    ) {
        let ledger = &self.parts.ledger;
        let Some(check) = queued.check.take() else {
            ledger.release_reply(reply);
            self.state = State::Queued(queued);
            return;
        };
        let checked = check.on_reply(ledger, reply);
        self.follow(queued, checked);
    }

    /// Does what a check of a queued request says.
    fn follow(
        &mut self,
        mut queued: Box<QueuedRequest>,
        checked: Result<Check, LedgerError>,
    ) -> QueuePoll {
        let counter = queued.counter();
        match checked {
            Ok(Check::Pending(check)) => {
                queued.check = Some(check);
                self.state = State::Queued(queued);
                QueuePoll::Pending
            }
            Ok(Check::Decided(Verdict::Rejected(rejection, details))) => {
                let poll = if rejection.charge.id() == counter {
                    QueuePoll::Pending
                } else if self.moves(&queued, &rejection) {
                    queued.known_use = None;
                    QueuePoll::Moved
                } else {
                    self.remove_from_queue(counter);
                    self.note_queued(rejection.charge, queued.joined_at);
                    let attributes = &mut queued.decision.attributes;
                    self.reject(&rejection, attributes, &details);
                    return QueuePoll::Done;
                };
                let is_overdue = queued.until <= rejection.now;
                queued.rejection = rejection;
                queued.response_headers = details.headers;
                self.state = State::Queued(queued);
                if is_overdue {
                    self.reject_queued();
                    return QueuePoll::Done;
                }
                poll
            }
            Ok(Check::Decided(Verdict::Admitted(admission))) => {
                self.remove_from_queue(counter);
                self.note_queued(queued.rejection.charge, queued.joined_at);
                let waited_for = self.limit_of(&queued.rejection);
                self.admit(admission, &mut queued.decision.attributes);
                if self.outcome.decision == Some(Decision::Admitted) {
                    self.outcome.decision = Some(Decision::Queued);
                    self.outcome.limit = waited_for;
                }
                self.resume_request();
                QueuePoll::Done
            }
            Err(error) => {
                self.remove_from_queue(counter);
                self.note_queued(queued.rejection.charge, queued.joined_at);
                self.fail(&error.into());
                QueuePoll::Done
            }
        }
    }

    /// Moves the request to the queue of another counter, which has no room where the first has. It
    /// keeps its place in the order of arrival, and its time. Returns whether there was a place.
    fn moves(&self, queued: &QueuedRequest, rejection: &Rejection) -> bool {
        let charge = &rejection.charge;
        let Exceeded::Queue(queue) = self.parts.policies.on_exceeded(charge.rate) else {
            return false;
        };
        let standing = charge.counter.standing;
        let Parts {
            telemetry,
            queue: waiting,
            ..
        } = &*self.parts;
        let place = waiting.borrow_mut().move_to(
            queued.counter(),
            charge.id(),
            self.id,
            queue.depth,
            standing,
        );
        if place == Place::Taken {
            telemetry.dequeued();
        }
        place != Place::None
    }

    /// Rejects a queued request whose time is up, or that has lost its place. Host calls must concern this
    /// stream.
    fn reject_queued(&mut self) {
        match mem::replace(&mut self.state, State::Done) {
            State::Queued(mut queued) => {
                self.leave_queue(&mut queued);
                self.note_queued(queued.rejection.charge, queued.joined_at);
                let now = self.parts.ledger.now().unwrap_or(queued.rejection.now);
                let rejection = Rejection {
                    now,
                    ..queued.rejection
                };
                let attributes = &mut queued.decision.attributes;
                let details = RejectionDetails {
                    headers: queued.response_headers,
                    charges: Vec::new(),
                };
                self.reject(&rejection, attributes, &details);
            }
            other => self.state = other,
        }
    }

    /// Takes the status of a response that begins while the request is queued: of an upstream that has
    /// not seen the body, or of Envoy itself. One that succeeds is decided on now.
    pub(super) fn on_response_while_queued(&mut self, status: u16) {
        let mut queued = match mem::replace(&mut self.state, State::Done) {
            State::Queued(queued) => queued,
            other => {
                self.state = other;
                return;
            }
        };
        self.leave_queue(&mut queued);
        self.note_queued(queued.rejection.charge, queued.joined_at);
        let limit = self.limit_of(&queued.rejection);
        let PendingDecision {
            attributes,
            recheck: Some(demands),
            body_bytes,
            phase: Phase::Body,
            ..
        } = queued.decision
        else {
            self.outcome.limit = limit;
            return;
        };
        if !(200..300).contains(&status) {
            self.outcome.limit = limit;
            return;
        }
        let next = self.decide_on_demands(attributes, demands, body_bytes, None, Phase::Response);
        if next == Next::Continue {
            self.resume_request();
        }
    }
}
