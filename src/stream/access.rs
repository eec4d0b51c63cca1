//! Rules of access: which models a request may name. They are decided before limits.

use super::head::is_upgrade;
use super::held_body::WholeBody;
use super::machine::{Next, Stream};
use super::parts::Parts;
use super::state::State;
use crate::admit::{self, AdmissionError, Applicable};
use crate::attributes::Attributes;
use crate::policies::EvaluationError;
use crate::telemetry::{Count, Decision};
use filter_config::{AccessRule, Expression};
use std::rc::Rc;
use usage_meter::request::model;

/// What the rules of access say about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// All rules that apply allow it.
    Allowed,
    /// It depends on the body.
    AwaitsBody,
    /// The rule of this index does not allow it.
    Forbidden(usize),
}

/// Methods whose requests generate nothing, if they have no body.
const READING: [&[u8]; 5] = [b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"TRACE"];

// === impl Stream ===

impl Stream {
    /// Returns the limits that apply by the headers of a request that the rules of access allow. Where these depend on
    /// the body, so do the limits, which come after them.
    ///
    /// # Errors
    /// What Envoy does with a request that was rejected.
    pub(super) fn access_and_limits(
        &mut self,
        attributes: &mut Attributes,
    ) -> Result<Applicable, Next> {
        match self.access(attributes, None) {
            Ok(Access::Allowed) => self
                .applicable(attributes)
                .map_err(|error| self.fail(&error)),
            Ok(Access::AwaitsBody) => Ok(Applicable::of_body()),
            Ok(Access::Forbidden(rule)) => Err(self.forbid(rule)),
            Err(error) => Err(self.fail(&error)),
        }
    }

    /// Returns what the rules of access say, by what is known of the request. `body` is given if all of it is at hand.
    ///
    /// # Errors
    /// [`AdmissionError`], where a predicate cannot be evaluated and the failure mode is to deny.
    pub(super) fn access(
        &self,
        attributes: &mut Attributes,
        body: Option<&WholeBody>,
    ) -> Result<Access, AdmissionError> {
        let policies = Rc::clone(&self.parts.policies);
        let rules = &policies.configuration().access;
        if rules.is_empty() || self.names_nothing(attributes) {
            return Ok(Access::Allowed);
        }
        let awaits_body = attributes.body.is_pending();
        let of_path = self.request.endpoint.as_ref();
        let of_path = of_path.and_then(|endpoint| endpoint.model.as_deref());
        let model = of_path.or_else(|| self.model_of_body(body));
        // A server that takes the model of the path takes none of the body.
        let body = body.filter(|_| of_path.is_none());
        let allows = |rule: &AccessRule| {
            let allows_others = |body: &WholeBody| {
                model::allows_others(&body.bytes, &mut |model| rule.allows(model))
            };
            model.is_some_and(|model| rule.allows(model)) && body.is_none_or(allows_others)
        };
        let mut access = Access::Allowed;
        for (index, rule) in rules.iter().enumerate() {
            let reads_body = rule.when.as_ref().is_some_and(Expression::needs_body);
            if awaits_body && reads_body {
                access = Access::AwaitsBody;
            } else if self.applies(rule, index, attributes)? {
                if awaits_body && of_path.is_none() {
                    access = Access::AwaitsBody;
                } else if !allows(rule) {
                    return Ok(Access::Forbidden(index));
                }
            }
        }
        Ok(access)
    }

    /// Returns whether the request names no model because it generates nothing: it reads, and has no body.
    fn names_nothing(&self, attributes: &Attributes) -> bool {
        let headers = attributes.headers();
        let method = headers.get(":method").unwrap_or_default();
        let endpoint = self.request.endpoint.as_ref();
        self.request.has_ended
            && self.request.bytes == 0
            && READING.contains(&method)
            && !is_upgrade(headers)
            && endpoint.is_none_or(|endpoint| endpoint.model.is_none())
    }

    /// Returns the model that the body names, if every server reads the same in it.
    fn model_of_body(&self, body: Option<&WholeBody>) -> Option<&str> {
        let parameters = &self.request.parameters;
        let is_certain = parameters.names_one_model() && model::is_certain(&body?.bytes);
        parameters.model.as_deref().filter(|_| is_certain)
    }

    fn applies(
        &self,
        rule: &AccessRule,
        index: usize,
        attributes: &mut Attributes,
    ) -> Result<bool, AdmissionError> {
        let Parts {
            policies,
            telemetry,
            ..
        } = &*self.parts;
        let Some(when) = &rule.when else {
            return Ok(true);
        };
        let applies = match policies.evaluator().predicate(attributes, when) {
            Err(EvaluationError::Missing) => {
                telemetry.count(Count::MissingValues);
                Ok(false)
            }
            applies => applies.map_err(|error| AdmissionError::access(index, error)),
        };
        let mode = policies.configuration().failure_mode;
        admit::or_open(telemetry, mode, true, &mut false, applies)
    }

    /// Rejects the request because a rule of access does not allow its model.
    pub(super) fn forbid(&mut self, index: usize) -> Next {
        if self.request.lacks_memory {
            // What it names was not read due to a lack of memory.
            return self.overload();
        }
        self.state = State::Done;
        self.request.kept.release(false, false);
        self.outcome.decision = Some(Decision::Forbidden);
        let reason = format!("access[{index}] does not allow the model");
        self.outcome.note_reason(&reason);
        let Parts {
            policies,
            telemetry,
            responder,
            ..
        } = &*self.parts;
        let model = self.request.model();
        telemetry.access_forbidden(index, model.unwrap_or_default());
        if let Some(rule) = policies.configuration().access.get(index) {
            responder.forbid(self.request.endpoint.as_ref(), rule, model);
        }
        Next::Pause
    }
}
