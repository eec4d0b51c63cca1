//! The answer of a rate limit service, for a request that waits for it.

use super::{About, Next, State, Stream, Turn, Unanswered};
use crate::admit::Outcome;
use crate::host::Direction;
use limits::service::CheckReply;
use std::mem;

impl Stream {
    /// The service has answered, or will not. Only now can what was paused go on.
    pub fn on_answer(&mut self, answered: CheckReply) {
        let unanswered = match mem::replace(&mut self.state, State::Done) {
            State::Asking(unanswered) => unanswered,
            State::Queued(queued) => return self.on_answer_in_line(queued, answered),
            other => {
                // The exchange went on without it, or is over: nothing stays reserved.
                self.state = other;
                return self.plugin.give_back(answered);
            }
        };
        let Unanswered {
            asked,
            asking,
            reads_body,
        } = *unanswered;
        let outcome = match asking.answered(&self.plugin, answered) {
            Ok(Outcome::Asking(asking)) => {
                self.state = State::Asking(Box::new(Unanswered {
                    asked,
                    asking: *asking,
                    reads_body,
                }));
                return;
            }
            outcome => outcome,
        };
        let next = match (asked, outcome) {
            (About::Alternative(changed, choice), outcome) => {
                self.on_alternative_decided(changed, choice, outcome)
            }
            (About::Itself(undecided), Ok(Outcome::Denied(denial, told))) => {
                self.exceed(undecided, denial, told)
            }
            (About::Itself(mut undecided), outcome) => {
                let next = self.conclude(outcome, &mut undecided.attributes);
                if reads_body && matches!(self.state, State::Admitted) {
                    self.read_body(undecided.attributes);
                }
                next
            }
        };
        if next == Next::Continue {
            self.resume_request();
        }
    }

    /// A response comes before the answer: of an upstream that has not seen the body, or of Envoy
    /// itself. It does not wait. What looks like a completion is charged, as if there were no answer.
    pub(super) fn on_response_before_answer(&mut self, status: u16) {
        let State::Asking(unanswered) = mem::replace(&mut self.state, State::Done) else {
            return;
        };
        let Unanswered {
            asked, mut asking, ..
        } = *unanswered;
        match asked {
            About::Itself(mut undecided)
                if (200..300).contains(&status) && undecided.turn == Turn::Body =>
            {
                let outcome = Ok(Outcome::Admitted(asking.unanswered(&self.plugin)));
                let _ = self.conclude(outcome, &mut undecided.attributes);
                self.resume_request();
            }
            // Nobody has heard of what it may become: its headers wait.
            About::Itself(_) | About::Alternative(..) => asking.abandon(&self.plugin),
        }
    }

    /// Lets the request go on that was paused.
    pub(super) fn resume_request(&self) {
        if let Err(error) = self.plugin.host.resume(Direction::Request) {
            log::error!("resume: {error}");
        }
    }
}
