//! The usage report of a stream whose client did not request one: it is requested, and withheld.

use super::head::is_encoded;
use super::machine::{Next, Stream};
use crate::attributes::Attributes;
use crate::host::{Buffer, HeaderMap, Headers};
use crate::telemetry::Telemetry;
use filter_config::IncludeUsage;
use usage_meter::request::{Endpoint, StreamOptions, include_usage};
use usage_meter::{Passage, ReportFilter};

// === impl Stream ===

impl Stream {
    /// Returns whether the filter may request usage in the body of this request.
    pub(super) fn may_request_usage(&self) -> bool {
        let configuration = self.parts.policies.configuration();
        let max = configuration.request_body.max_bytes as u64;
        let endpoint = self.request.endpoint.as_ref();
        configuration.usage.include_usage == IncludeUsage::Auto
            && endpoint.is_some_and(Endpoint::has_stream_options)
            && self
                .request
                .content_length
                .is_none_or(|length| length <= max)
    }

    /// Requests the usage report of a stream, to which a limit applies, unless its client did.
    pub(super) fn request_usage_report(&mut self, attributes: &Attributes, body: &[u8]) {
        let parameters = &self.request.parameters;
        if parameters.stream != Some(true)
            || parameters.stream_options == StreamOptions::WithUsage
            || !self.may_request_usage()
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
            Ok(()) => self.report_filter = Some(ReportFilter::default()),
            Err(error) => {
                if let Some(length) = attributes.headers().get("content-length") {
                    let _ = host.set_header(HeaderMap::Request, "content-length", length);
                }
                Telemetry::host_call_failed("request body", error);
            }
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

    /// Takes the usage report that the client did not request out of the bytes at hand. Those that end within
    /// what may be a report stay in Envoy's buffer, with which they flow on even if trailers end the
    /// stream.
    pub(super) fn filter_report(
        &mut self,
        bytes: &[u8],
        is_reported: bool,
        end_of_stream: bool,
    ) -> Next {
        let Some(filter) = &mut self.report_filter else {
            return Next::Continue;
        };
        let Passage {
            replacement,
            is_held,
        } = filter.push(bytes, is_reported, end_of_stream);
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
