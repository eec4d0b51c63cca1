//! Fallbacks: a request without room is changed to another model or route.

use super::head::is_json;
use super::machine::{Next, Stream};
use super::state::{
    Admitted, AwaitingService, ChangedRequest, CheckTarget, FallbackChoice, PendingDecision, State,
};
use crate::admit::AdmissionError;
use crate::attributes::{Attributes, Body};
use crate::host::{HeaderMap, HostError};
use crate::ledger::{Admission, Check, Verdict};
use crate::memory::Need;
use crate::telemetry::Decision;
use filter_config::Alternative;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use usage_meter::request::{BodyReader, Parameters, Pointers, model};

/// The response header that names the fallback that was taken.
const HEADER: &str = "x-tollgate-alternative";

// === impl ChangedRequest ===

impl ChangedRequest {
    /// Returns the request as a fallback changes it; `None` where the fallback names a model and the body, if
    /// there is one, does not.
    fn new(
        alternative: &Alternative,
        original: &PendingDecision,
        parameters: &Parameters,
        pointers: &Arc<Pointers>,
        max_values: usize,
    ) -> Option<Self> {
        let headers = alternative.headers.iter();
        let mut headers: Vec<(&str, &[u8])> = headers
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let unchanged = original.attributes.headers();
        let Some(model) = &alternative.model else {
            let mut attributes = Attributes::new(unchanged.with(&headers));
            attributes.body = original.attributes.body.clone();
            return Some(Self {
                attributes,
                body: None,
                parameters: parameters.clone(),
            });
        };
        let replaced = model::replace(&original.body.as_ref()?.bytes, model)?;
        let mut length = itoa::Buffer::new();
        if unchanged.get("content-length").is_some() {
            headers.push(("content-length", length.format(replaced.len()).as_bytes()));
        }
        let headers = unchanged.with(&headers);
        let mut reader = BodyReader::new(headers.get("content-type"), pointers);
        reader.push(&replaced);
        reader.finish();
        let mut attributes = Attributes::new(headers);
        let is_json = is_json(attributes.headers());
        let (body, _) = Body::read(&reader, pointers, is_json, true, max_values);
        attributes.body = body;
        Some(Self {
            attributes,
            body: Some(replaced),
            parameters: reader.into_parameters(),
        })
    }
}

// === impl Stream ===

impl Stream {
    /// Takes the first fallback with which all limits have room, those that then apply. Each is tried
    /// once; without one, the request is rejected as it was received.
    pub(super) fn take_fallback(&mut self, mut choice: Box<FallbackChoice>) -> Next {
        let parts = Rc::clone(&self.parts);
        let alternatives = parts.policies.alternatives(choice.rejection.charge.rate);
        while let Some(alternative) = alternatives.get(choice.tried) {
            choice.tried = choice.tried.saturating_add(1);
            let changed = ChangedRequest::new(
                alternative,
                &choice.original,
                &choice.parameters,
                &parts.policies.needs().body,
                parts.memory.room(Need::Decision),
            );
            let Some(mut changed) = changed else {
                continue;
            };
            self.request.parameters.clone_from(&changed.parameters);
            let names_another =
                alternative.model.is_some() && self.request.model() != alternative.model.as_deref();
            if names_another {
                continue;
            }
            // All that is tried has the fuel of one exchange.
            changed.attributes.fuel_used = choice.original.attributes.fuel_used;
            let checked = self.check_fallback(&mut changed, &choice.original);
            choice.original.attributes.fuel_used = changed.attributes.fuel_used;
            match checked {
                Ok(Check::Pending(check)) => {
                    let next = self.wait_in(choice.original.phase);
                    self.state = State::AwaitingService(Box::new(AwaitingService {
                        target: CheckTarget::Fallback(changed, choice),
                        check,
                        reads_body: false,
                    }));
                    return next;
                }
                Ok(Check::Decided(Verdict::Admitted(admission))) => {
                    return self.admit_fallback(changed, &choice, admission);
                }
                Ok(Check::Decided(Verdict::Rejected(..))) => {}
                Err(error) => error.log(&parts.telemetry),
            }
        }
        let FallbackChoice {
            mut original,
            parameters,
            rejection,
            details,
            ..
        } = *choice;
        self.request.parameters = parameters;
        self.reject(&rejection, &mut original.attributes, &details)
    }

    /// Takes the rate limit service's verdict on the fallback that was tried last.
    pub(super) fn on_fallback_decided(
        &mut self,
        changed: ChangedRequest,
        choice: Box<FallbackChoice>,
        verdict: Result<Verdict, AdmissionError>,
    ) -> Next {
        match verdict {
            Ok(Verdict::Admitted(admission)) => {
                return self.admit_fallback(changed, &choice, admission);
            }
            Ok(Verdict::Rejected(..)) => {}
            Err(error) => error.log(&self.parts.telemetry),
        }
        self.take_fallback(choice)
    }

    /// Changes the request to the fallback that was tried last, as which it was admitted.
    fn admit_fallback(
        &mut self,
        mut changed: ChangedRequest,
        choice: &FallbackChoice,
        admission: Admission,
    ) -> Next {
        let parts = Rc::clone(&self.parts);
        let index = choice.tried.saturating_sub(1);
        let alternatives = parts.policies.alternatives(choice.rejection.charge.rate);
        let written = alternatives.get(index).map_or(Ok(()), |alternative| {
            self.write_fallback(alternative, &changed)
        });
        self.admit(admission, &mut changed.attributes);
        if let Err(error) = written {
            // The request is not what it would be charged as.
            self.discard();
            return self.fail(&AdmissionError::Unchangeable(error));
        }
        self.outcome.decision = Some(Decision::Alternative);
        self.outcome.limit = self.limit_of(&choice.rejection);
        self.outcome.fallback = Some(index);
        let original = choice.original.body.as_ref();
        let original = original.map(|body| body.bytes.as_slice());
        if matches!(self.state, State::Admitted(_))
            && let Some(body) = changed.body.as_deref().or(original)
        {
            self.request_usage_report(&mut changed.attributes, body);
        }
        Next::Continue
    }

    /// Releases what is reserved for an admitted request that does not take place.
    fn discard(&mut self) {
        if let State::Admitted(admitted) = mem::replace(&mut self.state, State::Done) {
            let admitted: Admitted = *admitted;
            self.charge_unmetered(admitted, None);
        }
    }

    /// Checks a changed request like any other.
    fn check_fallback(
        &mut self,
        changed: &mut ChangedRequest,
        original: &PendingDecision,
    ) -> Result<Check, AdmissionError> {
        let replaced = changed.body.as_ref().map(|body| body.len() as u64);
        let attributes = &mut changed.attributes;
        let body_bytes = replaced.or(original.body_bytes);
        if let Some(bytes) = replaced {
            self.request.read_bytes = bytes;
        }
        if self.parts.policies.needs().llm {
            let is_whole = original.body.is_some();
            attributes.llm = self.request.llm(&self.parts.estimator, is_whole);
        }
        let applicable = self.applicable(attributes)?;
        let demands = self.demands(attributes, applicable, body_bytes)?;
        Ok(self.check(attributes, demands, Some(self.id))?)
    }

    /// Writes what a fallback changes.
    fn write_fallback(
        &self,
        alternative: &Alternative,
        changed: &ChangedRequest,
    ) -> Result<(), HostError> {
        let host = &*self.parts.host;
        if let Some(body) = &changed.body {
            self.write_body(changed.attributes.headers(), body)?;
        }
        for (name, value) in &alternative.headers {
            host.set_header(HeaderMap::Request, name, value.as_bytes())?;
        }
        Ok(())
    }

    /// Returns the fallback that was taken.
    pub(super) fn fallback(&self) -> Option<&Alternative> {
        let limit = self.parts.policies.limit(self.outcome.limit?)?;
        let alternatives = limit.limit.alternatives();
        alternatives.get(self.outcome.fallback?)
    }

    /// Names the fallback that was taken to the client: by its model or, where it has none, its
    /// position, counted from 1.
    pub(super) fn report_fallback(&self) {
        let (Some(taken), Some(index)) = (self.fallback(), self.outcome.fallback) else {
            return;
        };
        let mut number = itoa::Buffer::new();
        let place = number.format(index.saturating_add(1));
        let value = taken.model.as_deref().unwrap_or(place);
        let host = &*self.parts.host;
        // The response is worth more than a header about it.
        let _ = host.set_header(HeaderMap::Response, HEADER, value.as_bytes());
    }
}
