//! A request that waits for room at a counter, until it is its turn or it has waited long enough.

use super::{Next, State, Stream, Turn};
use crate::admit::queue::{Counter, Waited};
use crate::admit::{self, Applicable, Denial, Outcome, Told};
use crate::attributes::Attributes;
use crate::plugin::Decision;
use filter_config::{Exceeded, Queue};
use std::mem;
use std::rc::Rc;

/// What is known of a request that waits for room.
#[derive(Debug)]
pub(super) struct Queued {
    attributes: Attributes,
    /// The limits that apply.
    applicable: Applicable,
    /// The length of its body.
    body_bytes: Option<u64>,
    /// The refusal that it meets if it waits in vain.
    denial: Denial,
    /// Until when it waits, nanoseconds since the epoch.
    until: u64,
    /// Whether its headers wait, so that the upstream has heard nothing.
    at_headers: bool,
}

// === impl Queued ===

impl Queued {
    pub(super) fn new(
        attributes: Attributes,
        applicable: Applicable,
        body_bytes: Option<u64>,
        denial: &Denial,
        queue: &Queue,
        turn: Turn,
    ) -> Self {
        Self {
            attributes,
            applicable,
            body_bytes,
            denial: *denial,
            until: denial.now.saturating_add(queue.timeout),
            at_headers: turn == Turn::Headers,
        }
    }

    const fn counter(&self) -> Counter {
        self.denial.charge.counter()
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

    /// Leaves the line, if the request waits. What is then to become of it is for the caller to say.
    pub(super) fn leave(&mut self) -> Option<Queued> {
        match mem::replace(&mut self.state, State::Done) {
            State::Queued(queued) => {
                self.leave_line(queued.counter());
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
        let State::Queued(mut queued) = mem::replace(&mut self.state, State::Done) else {
            return Waited::IsOver;
        };
        let expected = self.expected(queued.body_bytes);
        let outcome = admit::last_look(
            &self.plugin,
            &mut queued.attributes,
            queued.applicable.clone(),
            &expected,
            Some(self.context),
        );
        let counter = queued.counter();
        if let Ok(Outcome::Denied(denial, _)) = &outcome {
            let waited = if denial.charge.counter() == counter {
                Some(Waited::StillWaits)
            } else {
                self.moves(&queued, denial).then_some(Waited::HasMoved)
            };
            queued.denial = *denial;
            if let Some(waited) = waited {
                let is_over = queued.until <= denial.now;
                self.state = State::Queued(queued);
                if !is_over {
                    return waited;
                }
                self.on_waited_in_vain();
                return Waited::IsOver;
            }
        }
        self.leave_line(counter);
        let waited_for = self.limit_of(queued.denial.charge);
        if self.conclude(outcome, &mut queued.attributes) == Next::Continue {
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
            self.deny(&denial, &mut queued.attributes, &Told::new());
        }
    }

    /// A response comes before the turn of a request: of an upstream that has not seen the body, or of
    /// Envoy itself. What looks like a completion is admitted, or replaced by a refusal.
    pub(super) fn on_response_before_turn(&mut self, status: u16) {
        let Some(queued) = self.leave() else {
            return;
        };
        if queued.at_headers || !(200..300).contains(&status) {
            return;
        }
        let Queued {
            attributes,
            applicable,
            body_bytes,
            ..
        } = queued;
        if self.decide(attributes, applicable, body_bytes, None, Turn::Late) == Next::Continue {
            self.resume_request();
        }
    }
}
