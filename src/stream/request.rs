//! The headers of a request: the header phase.

use super::chargeable::Chargeable;
use super::head::{content_length, is_encoded, is_part, is_preflight, is_readable, is_upgrade};
use super::machine::{Next, Stream};
use super::progress::FetchedId;
use super::state::{AwaitingBody, Phase, State};
use crate::admit::Applicable;
use crate::attributes::{Attributes, Body};
use crate::host::{HeaderMap, Headers};
use crate::ledger::{Admission, Precheck};
use crate::memory::{Need, measured};
use crate::telemetry::Telemetry;
use filter_config::Expression;
use std::rc::Rc;
use usage_meter::RequestPath;
use usage_meter::request::Purpose;

// === impl Stream ===

impl Stream {
    /// Takes the request's headers: the header phase.
    pub fn on_request_headers(&mut self, end_of_stream: bool) -> Next {
        if !matches!(self.state, State::New) {
            return Next::Continue;
        }
        self.parts.telemetry.memory();
        if !self.has_memory(Need::Request, 0) {
            return self.overload();
        }
        let parts = Rc::clone(&self.parts);
        let configuration = parts.policies.configuration();
        self.request.has_ended = end_of_stream;
        let headers = self.read_headers();
        if self.is_to_usage_endpoint(&headers) {
            return self.on_usage_endpoint(headers, end_of_stream);
        }
        self.note_purpose(&headers);
        self.note_redirect(&headers);
        self.request.content_length = content_length(&headers);
        let mut attributes = Attributes::new(headers);
        let has_body = !end_of_stream && !is_upgrade(attributes.headers());
        if !has_body {
            attributes.body = Body::Opaque;
        }
        if is_part(attributes.headers()) {
            self.request.parameters.parts = 1;
        }
        if parts.policies.needs().llm {
            attributes.llm = self.request.llm(&parts.estimator, false);
        }
        if is_preflight(attributes.headers())
            && !parts.policies.evaluator().has_identity(&mut attributes)
        {
            // Browsers send no credentials with it, and no script can read why it was rejected.
            self.admit(Admission::unmatched(false), &mut attributes);
            return Next::Continue;
        }
        let applicable = match self.access_and_limits(&mut attributes) {
            Ok(applicable) => applicable,
            Err(next) => return next,
        };
        if is_encoded(attributes.headers()) && !applicable.depends_on_body {
            attributes.body = Body::Opaque;
        }
        if !applicable.is_empty() || applicable.depends_on_body || configuration.meters_all() {
            self.narrow_accept_encoding(attributes.headers());
        }
        let reads_body = applicable.amount_needs_body
            || applicable.is_hard()
            || (!applicable.is_empty() && is_readable(attributes.headers()));
        let awaits_body =
            attributes.body.is_pending() && (applicable.depends_on_body || reads_body);
        let holds_headers = configuration.hold_headers;
        let need = self.need_of_body(&applicable);
        if awaits_body && !(self.has_memory(need, 0) && self.keeps_headers()) {
            return self.decide_without_body(attributes, applicable);
        }
        if !awaits_body {
            let length = if has_body {
                self.request.declared_bytes()
            } else {
                Some(0)
            };
            return self.decide(attributes, applicable, length, None, Phase::Headers);
        }
        let calls_service = match parts.ledger.precheck(&applicable.charges) {
            Ok(Precheck::Rejected(rejection, details)) => {
                return self.reject(&rejection, &mut attributes, &details);
            }
            Ok(precheck) => matches!(precheck, Precheck::CallService),
            Err(error) => return self.fail(&error.into()),
        };
        if !holds_headers && self.may_request_usage() {
            self.expect_longer_body(attributes.headers());
        }
        self.begin_body(attributes.headers());
        let needs_body = need == Need::Decision
            || holds_headers
            || configuration
                .usage
                .include_usage
                .predicate()
                .is_some_and(Expression::needs_body)
            // Queued requests are decided on with their bodies.
            || parts.policies.needs().queue;
        if calls_service && !needs_body {
            // The service is called once. With the body it would be called with the exact
            // expectation, but an exhausted caller is rejected before the upstream sees the request.
            let length = self.request.declared_bytes();
            return self.decide(
                attributes,
                applicable,
                length,
                None,
                Phase::HeadersBeforeBody,
            );
        }
        let awaiting = AwaitingBody::new(attributes, applicable);
        self.state = State::AwaitingBody(Box::new(awaiting));
        if holds_headers {
            Next::Pause
        } else {
            Next::Continue
        }
    }

    /// Reads the headers of the request; none if Envoy fails.
    fn read_headers(&mut self) -> Headers {
        let host = &self.parts.host;
        let (headers, bytes) = measured(|| host.headers(HeaderMap::Request));
        self.request.kept.header_bytes = bytes;
        headers.unwrap_or_else(|error| {
            // The policy is then evaluated without headers, as the failure mode says.
            Telemetry::host_call_failed("request headers", error);
            Headers::default()
        })
    }

    /// Returns what the body of a request is needed for.
    fn need_of_body(&self, applicable: &Applicable) -> Need {
        let decides = applicable.depends_on_body
            || applicable.is_hard()
            || applicable.amount_needs_body
            || applicable.cost_needs_body(&self.parts.policies);
        if decides {
            Need::Decision
        } else {
            Need::Estimate
        }
    }

    /// Passes headers on before it is known whether the filter will lengthen the body.
    fn expect_longer_body(&mut self, headers: &Headers) {
        let removed = self
            .parts
            .host
            .remove_header(HeaderMap::Request, "content-length");
        if let Err(error) = removed {
            Telemetry::host_call_failed("content-length", error);
        }
        self.accept_no_encoding(headers);
    }

    /// Takes note of what a request is for, by its method and path.
    pub(super) fn note_purpose(&mut self, headers: &Headers) {
        if let Some(path) = headers.text(":path") {
            let method = headers.text(":method").unwrap_or_default();
            let methods = &self.parts.policies.configuration().usage.methods;
            let purpose = Purpose::of(&method, &path);
            self.request.chargeable = Chargeable::of(methods, &method, purpose);
            if let Purpose::Fetch(id) = purpose {
                self.request.fetched = Some(FetchedId::new(id));
            }
            self.request.endpoint = usage_meter::request::Endpoint::of_path(&path);
            self.request.path = RequestPath::of(path.as_bytes());
        }
    }
}
