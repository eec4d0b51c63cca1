//! The usage report of a stream whose client did not request one: it is requested, and withheld.

use super::head::is_encoded;
use super::machine::{Next, Stream};
use super::parts::Parts;
use super::usage_support::{Approach, Attempt};
use crate::attributes::Attributes;
use crate::host::{Buffer, HeaderMap, Headers};
use crate::policies::EvaluationError;
use crate::telemetry::{Count, Telemetry};
use filter_config::IncludeUsage;
use usage_meter::Passage;
use usage_meter::request::{Endpoint, StreamOptions, include_usage, mistral};

// === impl Stream ===

impl Stream {
    /// Returns whether the filter may request usage in the body of this request.
    pub(super) fn may_request_usage(&self) -> bool {
        let configuration = self.parts.policies.configuration();
        let max = configuration.request_body.max_bytes as u64;
        let endpoint = self.request.endpoint.as_ref();
        let may_have_options = match &configuration.usage.include_usage {
            IncludeUsage::Never => false,
            IncludeUsage::Auto => endpoint.is_some_and(Endpoint::has_stream_options),
            // Where a route rewrites the path, only the configuration knows what it leads to.
            IncludeUsage::When(_) => endpoint.is_none_or(Endpoint::has_stream_options),
        };
        may_have_options
            && self
                .request
                .content_length
                .is_none_or(|length| length <= max)
    }

    /// Requests the usage report of a stream, to which a limit applies, unless its client did.
    pub(super) fn request_usage_report(&mut self, attributes: &mut Attributes, body: &[u8]) {
        let parameters = &self.request.parameters;
        if parameters.stream != Some(true)
            || parameters.stream_options == StreamOptions::WithUsage
            || !self.may_request_usage()
            || is_encoded(attributes.headers())
            || !self.is_usage_wanted(attributes, body)
        {
            return;
        }
        let Some(spliced) = include_usage::splice(body) else {
            return;
        };
        let host = &self.parts.host;
        if self.parts.policies.configuration().hold_headers {
            // The length first: a body that does not match its length is worse than no usage report.
            let length = spliced.len().to_string();
            let has_length = attributes.headers().get("content-length").is_some();
            if has_length
                && let Err(error) =
                    host.set_header(HeaderMap::Request, "content-length", length.as_bytes())
            {
                return Telemetry::host_call_failed("content-length", error);
            }
            // A report in a compressed stream could not be withheld.
            let _ = host.remove_header(HeaderMap::Request, "accept-encoding");
        }
        match host.replace_buffer(Buffer::RequestBody, &spliced) {
            Ok(()) => self.report_filter = Some(Box::default()),
            Err(error) => {
                if attributes.headers().get("content-length").is_some() {
                    let length = body.len().to_string();
                    let _ =
                        host.set_header(HeaderMap::Request, "content-length", length.as_bytes());
                }
                Telemetry::host_call_failed("request body", error);
            }
        }
    }

    /// Returns whether usage is to be requested, by the predicate of the configuration, if it has one, and by what
    /// is known of the upstream.
    fn is_usage_wanted(&mut self, attributes: &mut Attributes, body: &[u8]) -> bool {
        if !self.is_predicate_true(attributes) {
            return false;
        }
        let Parts { host, policies, .. } = &*self.parts;
        let cluster = host.property(&["xds", "cluster_name"]).ok().flatten();
        let cluster = cluster.unwrap_or_default();
        let model = self.request.model().unwrap_or_default();
        let mut hasher = policies.hasher();
        hasher.value(&cluster);
        hasher.value(model.as_bytes());
        let path = attributes.headers().get(":path").unwrap_or_default();
        let is_named = include_usage::is_named_in(body)
            || include_usage::is_named_in(path)
            || path.contains(&b'%');
        // A predicate of the configuration says what the upstream is; otherwise its own clients know.
        let include_usage = &policies.configuration().usage.include_usage;
        let user_agent = attributes.headers().get("user-agent").unwrap_or_default();
        let is_mistral = include_usage.predicate().is_none()
            && mistral::is_client(user_agent)
            && mistral::is_model(model);
        let hash = hasher.finish();
        let attempt = Attempt::new(&**host, hash, &cluster, model, is_named, is_mistral);
        let approach = attempt.approach;
        self.attempt = Some(Box::new(attempt));
        approach == Approach::Ask
    }

    /// Returns whether the predicate of the configuration is true, or there is none.
    fn is_predicate_true(&self, attributes: &mut Attributes) -> bool {
        let Parts {
            policies,
            telemetry,
            estimator,
            ..
        } = &*self.parts;
        let Some(predicate) = policies.configuration().usage.include_usage.predicate() else {
            return true;
        };
        if policies.needs().llm {
            attributes.llm = self.request.llm(estimator, true);
        }
        match policies.evaluator().predicate(attributes, predicate) {
            Ok(is_true) => is_true,
            Err(EvaluationError::Missing) => {
                telemetry.count(Count::MissingValues);
                false
            }
            Err(error) => {
                telemetry.count(Count::EvaluationErrors);
                telemetry.evaluation_failed("", "usage.includeUsage", &error);
                false
            }
        }
    }

    /// Takes the status of the upstream's response: whether it has accepted the request.
    pub(super) fn note_acceptance(&mut self, status: u16) {
        let Parts {
            host, telemetry, ..
        } = &*self.parts;
        if let Some(attempt) = &mut self.attempt
            && !attempt.on_status(&**host, telemetry, status)
        {
            self.attempt = None;
        }
    }

    /// Takes a part of the body of an error, which may say why the upstream has not accepted the request.
    pub(super) fn note_error(&mut self, bytes: &[u8], is_end: bool) {
        let Parts {
            host, telemetry, ..
        } = &*self.parts;
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        attempt.on_error_body(bytes);
        if is_end {
            attempt.finish(&**host, telemetry);
            self.attempt = None;
        }
    }

    /// Prepares to withhold the usage report of the response, if the filter has requested it and the
    /// response can be read.
    pub(super) fn prepare_report_filter(&mut self, headers: &Headers) {
        if self.report_filter.is_none() {
            return;
        }
        let is_stream = headers
            .get("content-type")
            .is_some_and(|kind| kind.to_ascii_lowercase().starts_with(b"text/event-stream"));
        if !is_stream || is_encoded(headers) {
            self.report_filter = None;
            return;
        }
        if headers.get("content-length").is_some() {
            let host = &self.parts.host;
            if let Err(error) = host.remove_header(HeaderMap::Response, "content-length") {
                Telemetry::host_call_failed("content-length", error);
                self.report_filter = None;
            }
        }
    }

    /// Takes the usage report that the client did not request out of the bytes at hand, of which so many were searched
    /// for it. Those that end within what may be a report stay in Envoy's buffer, with which they flow on even if trailers
    /// end the stream.
    pub(super) fn filter_report(
        &mut self,
        bytes: Vec<u8>,
        searched: usize,
        is_reported: bool,
        end_of_stream: bool,
    ) -> Next {
        let Some(filter) = &mut self.report_filter else {
            return Next::Continue;
        };
        let Passage {
            replacement,
            is_held,
        } = filter.push_searched(bytes, searched, is_reported, end_of_stream);
        if let Some(replacement) = replacement {
            let host = &self.parts.host;
            if let Err(error) = host.replace_buffer(Buffer::ResponseBody, &replacement) {
                Telemetry::host_call_failed("response body", error);
                self.report_filter = None;
                return Next::Continue;
            }
        }
        if is_held { Next::Pause } else { Next::Continue }
    }
}
