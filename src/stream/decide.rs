//! The decision on a request: it is admitted, rejected, or handled as the exceeded limit says.

use super::held_body::WholeBody;
use super::machine::{Next, Stream};
use super::parts::Parts;
use super::state::{
    Admitted, AwaitingService, CheckTarget, FallbackChoice, PendingDecision, Phase, ReadingBody,
    State,
};
use crate::admit::{self, AdmissionError, Applicable};
use crate::attributes::Attributes;
use crate::ledger::{
    Admission, Check, Demands, LedgerError, Rejection, RejectionDetails, ResponseHeaders, Verdict,
};
use crate::memory::Need;
use crate::settle;
use crate::telemetry::{Count, Decision};
use filter_config::{Exceeded, LimitIndex};
use std::mem;
use std::rc::Rc;

// === impl Stream ===

impl Stream {
    /// Decides on the request, by everything that will be known of it: admits or rejects it, does what
    /// the exceeded limit says, or waits for a rate limit service.
    pub(super) fn decide(
        &mut self,
        mut attributes: Attributes,
        applicable: Applicable,
        body_bytes: Option<u64>,
        body: Option<WholeBody>,
        phase: Phase,
    ) -> Next {
        match self.demands(&mut attributes, applicable, body_bytes) {
            Ok(demands) => self.decide_on_demands(attributes, demands, body_bytes, body, phase),
            Err(error) => self.fail(&error),
        }
    }

    /// Decides on the request, by what it demands.
    pub(super) fn decide_on_demands(
        &mut self,
        mut attributes: Attributes,
        demands: Demands,
        body_bytes: Option<u64>,
        mut body: Option<WholeBody>,
        phase: Phase,
    ) -> Next {
        let parts = Rc::clone(&self.parts);
        let needs = parts.policies.needs();
        let recheck = needs.queue.then(|| demands.clone());
        let stream = (phase != Phase::Response).then_some(self.id);
        let checked = if demands.is_hard() {
            self.check_capped(&attributes, demands, body.as_mut(), stream)
        } else {
            self.check(&attributes, demands, stream)
                .map_err(AdmissionError::from)
        };
        let changes_body = self.may_change_body();
        let max_held = parts.policies.configuration().request_body.worker_bytes;
        let pending = |mut attributes: Attributes, body: Option<WholeBody>| {
            attributes.shrink();
            PendingDecision {
                attributes,
                recheck,
                body_bytes,
                body: body
                    .filter(|_| changes_body)
                    .and_then(|body| body.keep(max_held, parts.memory)),
                phase,
            }
        };
        match checked {
            Ok(Check::Decided(Verdict::Admitted(admission))) => {
                self.admit(admission, &mut attributes);
                if matches!(self.state, State::Admitted(_)) {
                    if phase == Phase::HeadersBeforeBody {
                        self.read_body(attributes);
                    } else if let Some(body) = body {
                        self.request_usage_report(&mut attributes, &body.bytes);
                    }
                }
                Next::Continue
            }
            Ok(Check::Decided(Verdict::Rejected(rejection, details))) => {
                let exceeded = parts.policies.on_exceeded(rejection.charge.rate);
                let may_wait = matches!(exceeded, Exceeded::Queue(_)) && phase != Phase::Response;
                if let Some(body) = body.as_ref().filter(|_| may_wait) {
                    self.request_usage_report(&mut attributes, &body.bytes);
                }
                self.exceed(pending(attributes, body), rejection, details)
            }
            Ok(Check::Pending(check)) => {
                if let Some(body) = &body {
                    self.request_usage_report(&mut attributes, &body.bytes);
                }
                self.state = State::AwaitingService(Box::new(AwaitingService {
                    target: CheckTarget::Original(pending(attributes, body)),
                    check,
                    reads_body: phase == Phase::HeadersBeforeBody,
                }));
                self.wait_in(phase)
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Returns what a request demands whose body has so many bytes.
    pub(super) fn demands(
        &self,
        attributes: &mut Attributes,
        applicable: Applicable,
        body_bytes: Option<u64>,
    ) -> Result<Demands, AdmissionError> {
        let Parts {
            policies,
            telemetry,
            estimator,
            ..
        } = &*self.parts;
        let expected = self.request.expected(estimator, body_bytes);
        admit::demands(policies, telemetry, attributes, applicable, &expected)
    }

    /// Checks a request with what it demands. Without a stream, it cannot wait.
    pub(super) fn check(
        &self,
        attributes: &Attributes,
        demands: Demands,
        stream: Option<u32>,
    ) -> Result<Check, LedgerError> {
        if demands.charges.is_empty() {
            let admission = Admission::unmatched(demands.failed_open);
            return Ok(Check::Decided(Verdict::Admitted(admission)));
        }
        let Parts { ledger, queue, .. } = &*self.parts;
        admit::check(ledger, queue, attributes.headers(), demands, stream)
    }

    /// Finds the limits that apply to a request.
    pub(super) fn applicable(
        &mut self,
        attributes: &mut Attributes,
    ) -> Result<Applicable, AdmissionError> {
        let Parts {
            policies,
            ledger,
            telemetry,
            ..
        } = &*self.parts;
        let with_values = ledger.needs_values();
        let applicable = admit::applicable(policies, telemetry, attributes, with_values);
        let mut applicable = applicable?;
        self.remove_counted(&mut applicable.charges);
        self.outcome.misses = applicable.misses;
        Ok(applicable)
    }

    /// Does what an exceeded limit says.
    pub(super) fn exceed(
        &mut self,
        mut decision: PendingDecision,
        rejection: Rejection,
        details: RejectionDetails,
    ) -> Next {
        let parts = Rc::clone(&self.parts);
        if decision.phase == Phase::Response {
            return self.reject(&rejection, &mut decision.attributes, &details);
        }
        match parts.policies.on_exceeded(rejection.charge.rate) {
            Exceeded::Alternatives(_) if self.may_be_changed(&decision) => {
                let choice = FallbackChoice {
                    original: decision,
                    parameters: mem::take(&mut self.request.parameters),
                    rejection,
                    details,
                    tried: 0,
                };
                return self.take_fallback(Box::new(choice));
            }
            Exceeded::Queue(queue) if self.may_enter_queue() => {
                let attributes = &mut decision.attributes;
                if let Some(until) = self.join_queue(queue, &rejection, attributes) {
                    return self.wait_in_queue(decision, rejection, details, until);
                }
            }
            _ => {}
        }
        self.reject(&rejection, &mut decision.attributes, &details)
    }

    /// Returns whether there is memory for what a fallback changes: the headers, the body and its copy.
    fn may_be_changed(&self, decision: &PendingDecision) -> bool {
        let body = decision.body.as_ref().map_or(0, |body| body.bytes.len());
        let headers = self.request.kept.header_bytes;
        self.has_memory(
            Need::Decision,
            body.saturating_mul(2).saturating_add(headers),
        )
    }

    /// Returns how a request waits in a phase.
    pub(super) fn wait_in(&self, phase: Phase) -> Next {
        match phase {
            Phase::Body => self.wait_with_body(),
            _ => Next::Pause,
        }
    }

    /// Admits the request. Without charges, the exchange is metered only if all are.
    pub(super) fn admit(&mut self, mut admission: Admission, attributes: &mut Attributes) {
        let configuration = self.parts.policies.configuration();
        self.outcome.decision = Some(match &admission {
            admission if admission.failed_open => Decision::FailedOpen,
            admission if admission.charges.is_empty() && !self.request.redirection.is_applied() => {
                Decision::Unmatched
            }
            admission if admission.shadow_rejected.is_some() => Decision::ShadowDenied,
            _ => Decision::Admitted,
        });
        if admission.shadow_rejected.is_some() {
            self.outcome.limit = admission.shadow_rejected;
        }
        if admission.charges.is_empty() && !configuration.meters_all() {
            self.state = State::Done;
            self.request.kept.release(false, false);
            return;
        }
        settle::report_reserved(&self.parts.policies, &self.parts.telemetry, &admission, 1);
        let retained = self.retain(attributes);
        let (keeps_headers, keeps_values) = retained.as_ref().map_or((false, false), |retained| {
            (retained.has_headers(), retained.has_body())
        });
        self.request.kept.release(keeps_headers, keeps_values);
        admission.shrink();
        if !self.keeps_reply(&admission.response_headers) {
            admission.response_headers = ResponseHeaders::new();
        }
        self.state = State::Admitted(Box::new(Admitted {
            admission,
            retained,
        }));
    }

    /// Returns the attributes that costs read when the exchange ends.
    fn retain(&mut self, attributes: &mut Attributes) -> Option<Box<Attributes>> {
        let policies = Rc::clone(&self.parts.policies);
        let needs = policies.needs().costs.as_ref()?;
        for export in &policies.configuration().exports {
            // What cannot be resolved now is an error when the cost is evaluated.
            let _ = policies.evaluator().resolve(attributes, &export.cost);
        }
        let retained = attributes.retain(&needs.uses);
        // Without memory for the headers, costs have no attributes.
        let is_kept = !retained.has_headers() || self.keeps_headers();
        is_kept.then(|| Box::new(retained))
    }

    /// Reads the body of an admitted request, for the model that it names.
    pub(super) fn read_body(&mut self, attributes: Attributes) {
        self.state = match mem::replace(&mut self.state, State::Done) {
            State::Admitted(admitted) => State::ReadingBody(Box::new(ReadingBody {
                attributes,
                admitted,
            })),
            other => other,
        };
    }

    /// Rejects the request because of a limit.
    pub(super) fn reject(
        &mut self,
        rejection: &Rejection,
        attributes: &mut Attributes,
        details: &RejectionDetails,
    ) -> Next {
        let Parts {
            policies,
            telemetry,
            responder,
            ..
        } = &*self.parts;
        self.state = State::Done;
        self.request.kept.release(false, false);
        self.outcome.decision = Some(Decision::Denied);
        self.outcome.limit = self.limit_of(rejection);
        let standing = &rejection.charge.counter.standing;
        let counter = rejection.charge.id();
        self.outcome.note_rejection(policies, rejection, details);
        telemetry.limit_rejected(policies, attributes, counter, standing, rejection.now);
        let endpoint = self.request.endpoint.as_ref();
        responder.reject(rejection, endpoint, &details.headers);
        Next::Pause
    }

    /// Rejects the request because its policy could not be evaluated, it has no identity, or its model has no price.
    pub(super) fn fail(&mut self, error: &AdmissionError) -> Next {
        let may_lack_value = matches!(
            error,
            AdmissionError::Evaluation { .. }
                | AdmissionError::Unauthenticated { .. }
                | AdmissionError::Access { .. }
                | AdmissionError::Uncapped(_)
        );
        if self.request.lacks_memory && may_lack_value {
            // The policy is not wrong: what it reads is missing due to a lack of memory.
            return self.overload();
        }
        let Parts {
            telemetry,
            responder,
            ..
        } = &*self.parts;
        self.state = State::Done;
        self.request.kept.release(false, false);
        error.log(telemetry);
        self.outcome.note_reason(&error.to_string());
        let endpoint = self.request.endpoint.as_ref();
        if let AdmissionError::Unpriced { index, model, .. } = error {
            telemetry.count(Count::Unpriced);
            self.outcome.decision = Some(Decision::Denied);
            self.outcome.limit = Some(*index);
            responder.reject_unpriced(endpoint, model);
        } else if let AdmissionError::Unauthenticated { claim, .. } = error {
            self.outcome.decision = Some(Decision::Unauthenticated);
            responder.reject_unauthenticated(endpoint, claim.as_deref());
        } else if let AdmissionError::InvalidRequest = error {
            self.outcome.decision = Some(Decision::InvalidRequest);
            responder.reject_invalid(endpoint);
        } else if let AdmissionError::Uncapped(reason) = error {
            self.outcome.decision = Some(Decision::InvalidRequest);
            responder.reject_uncapped(endpoint, &reason.to_string());
        } else {
            self.outcome.decision = Some(Decision::Failed);
            self.outcome.failed = error.failed_part();
            responder.fail(endpoint);
        }
        Next::Pause
    }

    /// Returns the limit that rejects.
    pub(super) fn limit_of(&self, rejection: &Rejection) -> Option<LimitIndex> {
        let rate = self.parts.policies.rate(rejection.charge.rate)?;
        Some(rate.limit)
    }
}
