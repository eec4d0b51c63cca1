//! What a request becomes for which there is no room: one that asks another model, or goes elsewhere.

use super::head::is_json;
use super::{Next, State, Stream};
use crate::admit::{self, Admission, Denial, Fault, Outcome};
use crate::attributes::{Attributes, Body};
use crate::host::{Buffer, HeaderMap, HostError};
use crate::plugin::Decision;
use crate::request::{Ask, model};
use filter_config::Alternative;
use std::borrow::Cow;
use std::mem;

/// The response header that tells which alternative was taken.
const HEADER: &str = "x-tollgate-alternative";

/// A request as an alternative makes it.
struct Changed<'a> {
    attributes: Attributes,
    body: Option<Cow<'a, [u8]>>,
}

// === impl Changed ===

impl<'a> Changed<'a> {
    /// `None` where the alternative names a model and the body, if there is one, does not.
    fn new(
        alternative: &Alternative,
        attributes: &Attributes,
        body: Option<&'a [u8]>,
    ) -> Option<Self> {
        let mut headers = attributes.headers().clone();
        for (name, value) in &alternative.headers {
            headers.set(name, value.as_bytes());
        }
        let mut body = body.map(Cow::Borrowed);
        if let Some(model) = &alternative.model {
            let replaced = model::replace(body.as_deref()?, model)?;
            if headers.get("content-length").is_some() {
                let mut number = itoa::Buffer::new();
                headers.set("content-length", number.format(replaced.len()).as_bytes());
            }
            body = Some(Cow::Owned(replaced));
        }
        let mut changed = Attributes::new(headers);
        changed.body = match attributes.body {
            Body::Unreadable(error) => Body::Unreadable(error),
            _ => Body::Opaque,
        };
        Some(Self {
            attributes: changed,
            body,
        })
    }
}

// === impl Stream ===

impl Stream {
    /// Takes the first of the alternatives for which every limit has room, those that apply to it then;
    /// `None` where there is none, and the request is as it was. Each is tried once.
    pub(super) fn take_alternative(
        &mut self,
        alternatives: &[Alternative],
        denial: &Denial,
        attributes: &Attributes,
        body_bytes: Option<u64>,
        body: Option<&[u8]>,
    ) -> Option<Next> {
        for (index, alternative) in alternatives.iter().enumerate() {
            let Some(mut changed) = Changed::new(alternative, attributes, body) else {
                continue;
            };
            let asked = changed.body.as_deref().map(Ask::read);
            let before = mem::replace(&mut self.ask, asked.unwrap_or_default());
            let is_asked =
                alternative.model.is_none() || self.asked_model() == alternative.model.as_deref();
            let admitted = is_asked
                .then(|| self.look(&mut changed, body_bytes))
                .flatten();
            let Some(admission) = admitted else {
                self.ask = before;
                continue;
            };
            let written = self.write(alternative, &changed);
            let outcome = Ok(Outcome::Admitted(admission));
            let next = self.conclude(outcome, &mut changed.attributes);
            if let Err(error) = written {
                // What it would be charged to is not what it is.
                self.charge(None, &[]);
                return Some(self.fail(&Fault::Unchangeable(error)));
            }
            self.decision = Some(Decision::Alternative);
            self.decided_by = self.limit_of(denial.charge);
            self.alternative = Some(index);
            if matches!(self.state, State::Admitted)
                && let Some(body) = &changed.body
            {
                self.ask_for_usage(&changed.attributes, body);
            }
            return Some(next);
        }
        None
    }

    /// Decides on a changed request as on any other; `None` where it is not admitted.
    fn look(&self, changed: &mut Changed<'_>, body_bytes: Option<u64>) -> Option<Admission> {
        let Changed { attributes, body } = changed;
        let plugin = &self.plugin;
        let mut body_bytes = body_bytes;
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
            attributes.llm = self.llm(body.as_ref().map(|body| body.len() as u64));
        }
        let expected = self.expected(body_bytes);
        let outcome = admit::applicable(plugin, attributes).and_then(|applicable| {
            let waits = Some(self.context);
            admit::last_look(plugin, attributes, applicable, &expected, waits)
        });
        match outcome {
            Ok(Outcome::Admitted(admission)) => Some(admission),
            Ok(Outcome::Denied(..) | Outcome::Asking(_)) => None,
            Err(fault) => {
                plugin.warn(&fault);
                None
            }
        }
    }

    /// Writes what an alternative changes. The length comes before the body: a body that does not fit its
    /// length is worse than one that is not changed.
    fn write(&self, alternative: &Alternative, changed: &Changed<'_>) -> Result<(), HostError> {
        let host = &*self.plugin.host;
        if let Some(Cow::Owned(body)) = &changed.body {
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
