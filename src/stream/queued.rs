//! A request that waits for room at a counter, until it is its turn or it has waited long enough.

use super::{Next, State, Stream, Turn, Undecided};
use crate::admit::queue::{Counter, Waited};
use crate::admit::{self, Asking, Denial, Fault, Outcome, Told};
use crate::plugin::Decision;
use filter_config::{Exceeded, Queue};
use limits::service::CheckReply;
use std::mem;
use std::rc::Rc;

/// How long it takes until a rate limit service is asked again, in nanoseconds, if nothing is known to
/// have changed meanwhile. What other Envoys do is not known.
const ASKED_AGAIN: u64 = 1_000_000_000;

/// What is known of a request that waits for room.
#[derive(Debug)]
pub(super) struct Queued {
    request: Undecided,
    /// The refusal that it meets if it waits in vain.
    denial: Denial,
    /// What the caller is told with it.
    told: Told,
    /// Until when it waits, nanoseconds since the epoch.
    until: u64,
    /// What this Envoy had seen used of the counter when there was no room for this request itself;
    /// `None` where there was room for none before it.
    used: Option<u64>,
    /// The question to a rate limit service, while it is open.
    asking: Option<Asking>,
}

// === impl Queued ===

impl Queued {
    pub(super) fn new(request: Undecided, denial: Denial, told: Told, queue: &Queue) -> Self {
        Self {
            request,
            until: denial.now.saturating_add(queue.timeout),
            denial,
            told,
            used: None,
            asking: None,
        }
    }

    const fn counter(&self) -> Counter {
        self.denial.charge.counter()
    }

    /// When a rate limit service is asked again, whatever is known.
    fn asks_at(&self) -> u64 {
        let Denial { standing, now, .. } = &self.denial;
        let at = now.saturating_add(ASKED_AGAIN);
        let resets_at = standing.resets_at.as_u64();
        if resets_at > *now {
            at.min(resets_at)
        } else {
            at
        }
    }
}

// === impl Stream ===

impl Stream {
    /// Goes to the end of the line of the counter that refused. Returns whether there was a place.
    pub(super) fn join(&self, queue: &Queue, denial: &Denial) -> bool {
        let until = denial.now.saturating_add(queue.timeout);
        let counter = denial.charge.counter();
        let mut waiting = self.plugin.queue.borrow_mut();
        let joined = waiting.join(counter, self.context, until, queue.depth, denial.standing);
        if joined {
            self.plugin.metrics.queued(&*self.plugin.host, true);
        }
        joined
    }

    /// Waits in the line that it has joined.
    pub(super) fn wait_in_line(
        &mut self,
        mut request: Undecided,
        denial: Denial,
        told: Told,
        queue: &Queue,
    ) -> Next {
        // Who waits in line becomes nothing else, and many may wait.
        request.body = None;
        let next = self.waits_at(request.turn);
        let mut queued = Queued::new(request, denial, told, queue);
        let before = self.plugin.queue.borrow();
        let before = before.before(queued.counter(), Some(self.context));
        if before.is_none() {
            queued.used = admit::used_at_service(&self.plugin, &denial.charge);
        }
        self.state = State::Queued(Box::new(queued));
        next
    }

    /// Leaves the line, if the request waits. What is then to become of it is for the caller to say.
    pub(super) fn leave(&mut self) -> Option<Queued> {
        match mem::replace(&mut self.state, State::Done) {
            State::Queued(mut queued) => {
                self.leave_line(queued.counter());
                if let Some(mut asking) = queued.asking.take() {
                    asking.abandon(&self.plugin);
                }
                Some(*queued)
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    fn leave_line(&self, counter: Counter) {
        let mut waiting = self.plugin.queue.borrow_mut();
        if waiting.leave(counter, self.context) {
            self.plugin.metrics.queued(&*self.plugin.host, false);
        }
    }

    /// Looks again at a request that waits: it goes on if there is room for it now and nobody before it,
    /// and is refused if it has waited long enough. Calls must concern this stream.
    pub fn on_turn(&mut self) -> Waited {
        let mut queued = match mem::replace(&mut self.state, State::Done) {
            State::Queued(queued) => queued,
            other => {
                self.state = other;
                return Waited::IsOver;
            }
        };
        if queued.asking.is_some() || !self.may_have_room(&mut queued) {
            self.state = State::Queued(queued);
            return Waited::StillWaits;
        }
        let Some(applicable) = queued.request.again.clone() else {
            // There is nothing to look at, as there always is where requests wait.
            self.state = State::Queued(queued);
            self.on_waited_in_vain();
            return Waited::IsOver;
        };
        let expected = self.expected(queued.request.body_bytes);
        let outcome = admit::last_look(
            &self.plugin,
            &mut queued.request.attributes,
            applicable,
            &expected,
            Some(self.context),
        );
        self.follow(queued, outcome)
    }

    /// Whether it is worth looking. A rate limit service is asked when this Envoy has seen something
    /// used of the counter, when its window ends, once in a while, and when the time is up.
    fn may_have_room(&self, queued: &mut Queued) -> bool {
        let Some(used) = admit::used_at_service(&self.plugin, &queued.denial.charge) else {
            // It is this Envoy that decides, and it knows.
            return true;
        };
        let known = queued.used.replace(used);
        let now = self.plugin.host.now().unwrap_or_default();
        known != Some(used) || now >= queued.asks_at().min(queued.until)
    }

    /// The service has answered to a request that waits.
    pub(super) fn on_answer_in_line(&mut self, mut queued: Box<Queued>, answered: CheckReply) {
        let Some(asking) = queued.asking.take() else {
            self.state = State::Queued(queued);
            return self.plugin.give_back(answered);
        };
        let outcome = asking.answered(&self.plugin, answered);
        self.follow(queued, outcome);
    }

    /// Does what was decided on a request that waits.
    fn follow(&mut self, mut queued: Box<Queued>, outcome: Result<Outcome, Fault>) -> Waited {
        let counter = queued.counter();
        let outcome = match outcome {
            Ok(Outcome::Asking(asking)) => {
                queued.asking = Some(*asking);
                self.state = State::Queued(queued);
                return Waited::StillWaits;
            }
            Ok(Outcome::Denied(denial, told)) => {
                let waited = if denial.charge.counter() == counter {
                    Some(Waited::StillWaits)
                } else {
                    self.moves(&queued, &denial).then_some(Waited::HasMoved)
                };
                if let Some(waited) = waited {
                    if waited == Waited::HasMoved {
                        queued.used = None;
                    }
                    queued.denial = denial;
                    queued.told = told;
                    let is_over = queued.until <= denial.now;
                    self.state = State::Queued(queued);
                    if !is_over {
                        return waited;
                    }
                    self.on_waited_in_vain();
                    return Waited::IsOver;
                }
                Ok(Outcome::Denied(denial, told))
            }
            outcome => outcome,
        };
        self.leave_line(counter);
        let waited_for = self.limit_of(queued.denial.charge);
        if self.conclude(outcome, &mut queued.request.attributes) == Next::Continue {
            if self.decision == Some(Decision::Admitted) {
                self.decision = Some(Decision::Queued);
                self.decided_by = waited_for;
            }
            self.resume_request();
        }
        Waited::IsOver
    }

    /// Goes on waiting at another counter, which has no room where the first has. It keeps its place
    /// among all who wait, and has as long as it had from the beginning.
    fn moves(&self, queued: &Queued, denial: &Denial) -> bool {
        let plugin = Rc::clone(&self.plugin);
        let Exceeded::Queue(queue) = plugin.on_exceeded(&denial.charge) else {
            return false;
        };
        let (from, to) = (queued.counter(), denial.charge.counter());
        let mut waiting = plugin.queue.borrow_mut();
        waiting.move_over(from, to, self.context, queue.depth, denial.standing)
    }

    /// Refuses a request that has waited for room in vain. Calls must concern this stream.
    pub fn on_waited_in_vain(&mut self) {
        if let Some(mut queued) = self.leave() {
            let now = self.plugin.host.now().unwrap_or(queued.denial.now);
            let denial = Denial {
                now,
                ..queued.denial
            };
            self.deny(&denial, &mut queued.request.attributes, &queued.told);
        }
    }

    /// A response comes before the turn of a request: of an upstream that has not seen the body, or of
    /// Envoy itself. What looks like a completion is admitted, or replaced by a refusal.
    pub(super) fn on_response_before_turn(&mut self, status: u16) {
        let Some(queued) = self.leave() else {
            return;
        };
        let Undecided {
            attributes,
            again: Some(applicable),
            body_bytes,
            turn: Turn::Body,
            ..
        } = queued.request
        else {
            return;
        };
        if !(200..300).contains(&status) {
            return;
        }
        if self.decide(attributes, applicable, body_bytes, None, Turn::Late) == Next::Continue {
            self.resume_request();
        }
    }
}
