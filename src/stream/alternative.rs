//! What a request becomes for which there is no room: one that asks another model, or goes elsewhere.

use super::head::is_json;
use super::{About, Next, State, Stream, Turn, Unanswered, Undecided};
use crate::admit::{self, Admission, Denial, Fault, Outcome, Told};
use crate::attributes::{Attributes, Body};
use crate::host::{Buffer, HeaderMap, HostError};
use crate::plugin::Decision;
use filter_config::Alternative;
use std::rc::Rc;
use usage_meter::request::{Ask, model};

/// The response header that tells which alternative was taken.
const HEADER: &str = "x-tollgate-alternative";

/// A request as an alternative makes it.
#[derive(Debug)]
pub(super) struct Changed {
    attributes: Attributes,
    /// The body that takes the place of the request's own.
    body: Option<Vec<u8>>,
}

/// A request for which there is no room, and what is left to try.
#[derive(Debug)]
pub(super) struct Choice {
    /// The request as it came.
    refused: Undecided,
    /// What its body asks for.
    ask: Ask,
    denial: Denial,
    told: Told,
    /// How many of the alternatives were tried.
    tried: usize,
}

// === impl Changed ===

impl Changed {
    /// `None` where the alternative names a model and the body, if there is one, does not.
    fn new(alternative: &Alternative, request: &Undecided) -> Option<Self> {
        let mut headers = request.attributes.headers().clone();
        for (name, value) in &alternative.headers {
            headers.set(name, value.as_bytes());
        }
        let mut body = None;
        if let Some(model) = &alternative.model {
            let replaced = model::replace(request.body.as_deref()?, model)?;
            if headers.get("content-length").is_some() {
                let mut number = itoa::Buffer::new();
                headers.set("content-length", number.format(replaced.len()).as_bytes());
            }
            body = Some(replaced);
        }
        let mut changed = Attributes::new(headers);
        changed.body = match request.attributes.body {
            Body::Unreadable(error) => Body::Unreadable(error),
            _ => Body::Opaque,
        };
        Some(Self {
            attributes: changed,
            body,
        })
    }

    /// The body of the request as it is now.
    fn body<'a>(&'a self, request: &'a Undecided) -> Option<&'a [u8]> {
        self.body.as_deref().or(request.body.as_deref())
    }
}

// === impl Choice ===

impl Choice {
    /// The choice of a request that was refused, of which nothing was tried yet.
    pub(super) fn new(refused: Undecided, ask: Ask, denial: Denial, told: Told) -> Self {
        Self {
            refused,
            ask,
            denial,
            told,
            tried: 0,
        }
    }

    /// Where the request is decided on.
    pub(super) const fn turn(&self) -> Turn {
        self.refused.turn
    }
}

// === impl Stream ===

impl Stream {
    /// Takes the first of the alternatives for which every limit has room, those that apply to it then;
    /// where there is none, the request is refused as it came. Each is tried once.
    pub(super) fn take_alternative(&mut self, mut choice: Box<Choice>) -> Next {
        let plugin = Rc::clone(&self.plugin);
        let alternatives = plugin.alternatives(&choice.denial.charge);
        while let Some(alternative) = alternatives.get(choice.tried) {
            choice.tried = choice.tried.saturating_add(1);
            let Some(mut changed) = Changed::new(alternative, &choice.refused) else {
                continue;
            };
            let asked = changed.body(&choice.refused).map(Ask::read);
            self.ask = asked.unwrap_or_default();
            let names_another =
                alternative.model.is_some() && self.asked_model() != alternative.model.as_deref();
            if names_another {
                continue;
            }
            match self.look(&mut changed, &choice.refused) {
                Ok(Outcome::Asking(asking)) => {
                    let next = self.waits_at(choice.turn());
                    self.state = State::Asking(Box::new(Unanswered {
                        asked: About::Alternative(changed, choice),
                        asking: *asking,
                        reads_body: false,
                    }));
                    return next;
                }
                Ok(Outcome::Admitted(admission)) => return self.take(changed, &choice, admission),
                Ok(Outcome::Denied(..)) => {}
                Err(fault) => plugin.warn(&fault),
            }
        }
        let Choice {
            mut refused,
            ask,
            denial,
            told,
            ..
        } = *choice;
        self.ask = ask;
        self.deny(&denial, &mut refused.attributes, &told)
    }

    /// A rate limit service has decided on a request as an alternative makes it, which is the last that
    /// was tried.
    pub(super) fn on_alternative_decided(
        &mut self,
        changed: Changed,
        choice: Box<Choice>,
        outcome: Result<Outcome, Fault>,
    ) -> Next {
        match outcome {
            Ok(Outcome::Admitted(admission)) => return self.take(changed, &choice, admission),
            Ok(Outcome::Denied(..) | Outcome::Asking(_)) => {}
            Err(fault) => self.plugin.warn(&fault),
        }
        self.take_alternative(choice)
    }

    /// Changes a request to the alternative that was tried last, as which it was admitted.
    fn take(&mut self, mut changed: Changed, choice: &Choice, admission: Admission) -> Next {
        let plugin = Rc::clone(&self.plugin);
        let index = choice.tried.saturating_sub(1);
        let alternatives = plugin.alternatives(&choice.denial.charge);
        let written = alternatives
            .get(index)
            .map_or(Ok(()), |alternative| self.write(alternative, &changed));
        let outcome = Ok(Outcome::Admitted(admission));
        let next = self.conclude(outcome, &mut changed.attributes);
        if let Err(error) = written {
            // What it would be charged to is not what it is.
            self.charge(None, &[]);
            return self.fail(&Fault::Unchangeable(error));
        }
        self.decision = Some(Decision::Alternative);
        self.decided_by = self.limit_of(choice.denial.charge);
        self.alternative = Some(index);
        if matches!(self.state, State::Admitted)
            && let Some(body) = changed.body(&choice.refused)
        {
            self.ask_for_usage(&changed.attributes, body);
        }
        next
    }

    /// Decides on a changed request as on any other.
    fn look(&self, changed: &mut Changed, request: &Undecided) -> Result<Outcome, Fault> {
        let plugin = &self.plugin;
        let body = changed.body.as_deref().or(request.body.as_deref());
        let attributes = &mut changed.attributes;
        let mut body_bytes = request.body_bytes;
        if let Some(body) = body {
            let is_json = is_json(attributes.headers());
            attributes.body = if plugin.reads_body {
                Body::read(body, is_json)
            } else {
                Body::glance(body, is_json)
            };
            body_bytes = Some(body.len() as u64);
        }
        if plugin.reads_llm {
            attributes.llm = self.llm(body.map(|body| body.len() as u64));
        }
        let expected = self.expected(body_bytes);
        let applicable = admit::applicable(plugin, attributes)?;
        let waits = Some(self.context);
        admit::last_look(plugin, attributes, applicable, &expected, waits)
    }

    /// Writes what an alternative changes. The length comes before the body: a body that does not fit its
    /// length is worse than one that is not changed.
    fn write(&self, alternative: &Alternative, changed: &Changed) -> Result<(), HostError> {
        let host = &*self.plugin.host;
        if let Some(body) = &changed.body {
            if let Some(length) = changed.attributes.headers().get("content-length") {
                host.set_header(HeaderMap::Request, "content-length", length)?;
            }
            host.replace_buffer(Buffer::RequestBody, body)?;
        }
        for (name, value) in &alternative.headers {
            host.set_header(HeaderMap::Request, name, value.as_bytes())?;
        }
        Ok(())
    }

    /// The alternative that was taken.
    pub(super) fn taken(&self) -> Option<&Alternative> {
        let (policy, limit) = self.decided_by?;
        let policy = self.plugin.configuration.policies.get(policy)?;
        let alternatives = policy.limits.get(limit)?.alternatives();
        alternatives.get(self.alternative?)
    }

    /// Tells the client which alternative was taken: by its model or, where it has none, its place.
    pub(super) fn tell_alternative(&self) {
        let (Some(taken), Some(index)) = (self.taken(), self.alternative) else {
            return;
        };
        let mut number = itoa::Buffer::new();
        let place = number.format(index.saturating_add(1));
        let value = taken.model.as_deref().unwrap_or(place);
        let host = &*self.plugin.host;
        // The response is worth more than a header about it.
        let _ = host.set_header(HeaderMap::Response, HEADER, value.as_bytes());
    }
}
