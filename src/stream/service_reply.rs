//! The reply of a rate limit service, for a request that waits for it.

use super::machine::{Next, Stream};
use super::state::{AwaitingService, CheckTarget, Phase, State};
use crate::admit::AdmissionError;
use crate::ledger::{Check, Verdict};
use limits::service::CheckReply;
use std::mem;

// === impl Stream ===

impl Stream {
    /// Takes a reply of the service, or its failure. Only now can the request that was paused be
    /// resumed.
    pub fn on_check_reply(&mut self, reply: CheckReply) {
        let awaiting = match mem::replace(&mut self.state, State::Done) {
            State::AwaitingService(awaiting) => *awaiting,
            State::Queued(queued) => return self.on_reply_while_queued(queued, reply),
            other => {
                // The request was decided on without it, or is over: nothing stays reserved.
                self.state = other;
                return self.parts.ledger.release_reply(reply);
            }
        };
        let AwaitingService {
            target,
            check,
            reads_body,
        } = awaiting;
        let verdict = match check.on_reply(&self.parts.ledger, reply) {
            Ok(Check::Pending(check)) => {
                self.state = State::AwaitingService(Box::new(AwaitingService {
                    target,
                    check,
                    reads_body,
                }));
                return;
            }
            Ok(Check::Decided(verdict)) => Ok(verdict),
            Err(error) => Err(AdmissionError::from(error)),
        };
        let next = match (target, verdict) {
            (CheckTarget::Fallback(changed, choice), verdict) => {
                self.on_fallback_decided(changed, choice, verdict)
            }
            (CheckTarget::Original(mut decision), Ok(Verdict::Admitted(admission))) => {
                self.admit(admission, &mut decision.attributes);
                if reads_body {
                    self.read_body(decision.attributes);
                }
                Next::Continue
            }
            (CheckTarget::Original(decision), Ok(Verdict::Rejected(rejection, headers))) => {
                self.exceed(decision, rejection, headers)
            }
            (CheckTarget::Original(_), Err(error)) => self.fail(&error),
        };
        if next == Next::Continue {
            self.resume_request();
        }
    }

    /// Takes the status of a response that begins before the service's reply: of an upstream that has
    /// not seen the body, or of Envoy itself. It does not wait. One that succeeds is charged, as if
    /// the service did not reply.
    pub(super) fn on_response_while_pending(&mut self, status: u16) {
        let awaiting = match mem::replace(&mut self.state, State::Done) {
            State::AwaitingService(awaiting) => *awaiting,
            other => {
                self.state = other;
                return;
            }
        };
        let ledger = &self.parts.ledger;
        let AwaitingService {
            target, mut check, ..
        } = awaiting;
        match target {
            CheckTarget::Original(mut decision)
                if (200..300).contains(&status) && decision.phase == Phase::Body =>
            {
                let admission = check.admit_without_reply(ledger);
                self.admit(admission, &mut decision.attributes);
                self.resume_request();
            }
            // No upstream has seen what a fallback would change: its headers are held.
            CheckTarget::Original(_) | CheckTarget::Fallback(..) => check.abandon(ledger),
        }
    }
}
