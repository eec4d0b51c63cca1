//! Asking for the usage report of a stream whose client did not, and keeping it from him.

use super::Stream;
use super::head::is_encoded;
use crate::attributes::Attributes;
use crate::host::{Buffer, HeaderMap, Headers};
use filter_config::IncludeUsage;
use usage_meter::meter::withhold::Withhold;
use usage_meter::request::path::Target;
use usage_meter::request::{StreamOptions, include_usage};

impl Stream {
    /// Whether this may be a request in whose body the filter asks for usage.
    pub(super) fn may_ask_for_usage(&self) -> bool {
        let max = self.plugin.configuration.request_body.max_bytes as u64;
        self.plugin.configuration.usage.include_usage == IncludeUsage::Auto
            && self.target.as_ref().is_some_and(Target::has_stream_options)
            && self.request_length.is_none_or(|length| length <= max)
    }

    /// Asks for the usage report of a stream, to which a limit applies, if its client did not.
    pub(super) fn ask_for_usage(&mut self, attributes: &Attributes, body: &[u8]) {
        if self.ask.stream != Some(true)
            || self.ask.stream_options == StreamOptions::WithUsage
            || !self.may_ask_for_usage()
        {
            return;
        }
        let Some(spliced) = include_usage::splice(body) else {
            return;
        };
        let host = &self.plugin.host;
        if self.plugin.configuration.hold_headers {
            // The length first: a body that does not fit its length is worse than none asked for.
            let length = spliced.len().to_string();
            let has_length = attributes.headers().get("content-length").is_some();
            if has_length
                && let Err(error) =
                    host.set_header(HeaderMap::Request, "content-length", length.as_bytes())
            {
                return log::error!("content-length: {error}");
            }
            // A report in a compressed stream could not be taken out again.
            let _ = host.remove_header(HeaderMap::Request, "accept-encoding");
        }
        match host.replace_buffer(Buffer::RequestBody, &spliced) {
            Ok(()) => self.withhold = Some(Withhold::default()),
            Err(error) => {
                if let Some(length) = attributes.headers().get("content-length") {
                    let _ = host.set_header(HeaderMap::Request, "content-length", length);
                }
                log::error!("request body: {error}");
            }
        }
    }

    /// Makes ready to take a usage report out of the response, if the filter asked for it and the
    /// response can be read.
    pub(super) fn prepare_to_withhold(&mut self, headers: &Headers) {
        if self.withhold.is_none() {
            return;
        }
        let is_stream = headers
            .get("content-type")
            .is_some_and(|kind| kind.to_ascii_lowercase().starts_with(b"text/event-stream"));
        if !is_stream || is_encoded(headers) {
            self.withhold = None;
            return;
        }
        if headers.get("content-length").is_some() {
            let host = &self.plugin.host;
            if let Err(error) = host.remove_header(HeaderMap::Response, "content-length") {
                log::error!("content-length: {error}");
                self.withhold = None;
            }
        }
    }

    /// Takes out of the bytes at hand the usage report that the client did not ask for.
    pub(super) fn withhold(&mut self, bytes: &[u8], reported: bool, end_of_stream: bool) {
        let Some(withhold) = &mut self.withhold else {
            return;
        };
        if let Some(passed) = withhold.push(bytes, reported, end_of_stream)
            && let Err(error) = self
                .plugin
                .host
                .replace_buffer(Buffer::ResponseBody, &passed)
        {
            log::error!("response body: {error}");
        }
    }
}
