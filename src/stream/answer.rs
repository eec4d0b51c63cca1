//! The answer of a rate limit service, for a request that waits for it.

use super::{Next, State, Stream, Unanswered};
use crate::admit::Outcome;
use crate::host::{Direction, LogLevel};
use crate::storage::remote::Answered;
use std::mem;

impl Stream {
    /// The service has answered, or will not. Only now can what was paused go on.
    pub fn on_answer(&mut self, answered: Answered) {
        if !matches!(self.state, State::Asking(_)) {
            // The exchange went on without it, or is over: nothing stays reserved.
            return self.plugin.give_back(answered);
        }
        let State::Asking(unanswered) = mem::replace(&mut self.state, State::Done) else {
            return;
        };
        let Unanswered {
            mut attributes,
            asking,
            reads_body,
            at_headers,
        } = *unanswered;
        let outcome = match asking.answered(&self.plugin, answered) {
            Ok(Outcome::Asking(asking)) => {
                self.state = State::Asking(Box::new(Unanswered {
                    attributes,
                    asking: *asking,
                    reads_body,
                    at_headers,
                }));
                return;
            }
            outcome => outcome,
        };
        if self.conclude(outcome, &mut attributes) != Next::Continue {
            return;
        }
        if reads_body && matches!(self.state, State::Admitted) {
            self.read_body(attributes);
        }
        self.resume_request();
    }

    /// A response comes before the answer: of an upstream that has not seen the body, or of Envoy
    /// itself. It does not wait. What looks like a completion is charged, as if there were no answer.
    pub(super) fn on_response_before_answer(&mut self, status: u16) {
        let State::Asking(mut unanswered) = mem::replace(&mut self.state, State::Done) else {
            return;
        };
        if !(200..300).contains(&status) || unanswered.at_headers {
            unanswered.asking.abandon(&self.plugin);
            return;
        }
        let admission = unanswered.asking.unanswered();
        let _ = self.conclude(Ok(Outcome::Admitted(admission)), &mut unanswered.attributes);
        self.resume_request();
    }

    /// Lets the request go on that was paused.
    pub(super) fn resume_request(&self) {
        if let Err(error) = self.plugin.host.resume(Direction::Request) {
            self.log(LogLevel::Error, &format!("resume: {error}"));
        }
    }
}
