//! The headers of a local reply.

use super::format::ErrorFormat;
use crate::host::is_header_value;
use limits::Nanos;

/// The milliseconds after which the SDKs of AWS retry. They do not read `retry-after`.
const AWS_RETRY_AFTER: &str = "x-amz-retry-after";

/// The headers of a local reply, each of which is there once.
#[derive(Debug, Default)]
pub(super) struct ReplyHeaders(Vec<(String, Vec<u8>)>);

// === impl ReplyHeaders ===

impl ReplyHeaders {
    /// Returns the headers of a body of this type.
    pub(super) fn new(content_type: &str) -> Self {
        let mut headers = Self::default();
        headers.set("content-type", content_type.as_bytes());
        headers
    }

    /// Sets a header, unless its value is invalid.
    pub(super) fn set(&mut self, name: &str, value: &[u8]) {
        if !is_header_value(value) {
            return;
        }
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value.to_vec(),
            None => self.0.push((name.to_owned(), value.to_vec())),
        }
    }

    /// Sets headers.
    pub(super) fn extend(
        &mut self,
        headers: impl IntoIterator<Item = (&'static str, &'static str)>,
    ) {
        for (name, value) in headers {
            self.set(name, value.as_bytes());
        }
    }

    /// Says when to retry, or not to, to clients that expect this format of errors.
    pub(super) fn write_retry(&mut self, after: Option<Nanos>, format: ErrorFormat) {
        let Some(after) = after else {
            return self.set("x-should-retry", b"false");
        };
        let mut number = itoa::Buffer::new();
        self.set(
            "retry-after",
            number.format(after.as_secs_rounded_up()).as_bytes(),
        );
        let milliseconds = after.as_u64().div_ceil(Nanos::MILLISECOND.as_u64());
        let milliseconds = number.format(milliseconds).as_bytes();
        self.set("retry-after-ms", milliseconds);
        if format.is_aws() {
            self.set(AWS_RETRY_AFTER, milliseconds);
        }
    }

    /// Removes what makes clients wait: of a rate limit service, or under a configured name.
    pub(super) fn remove_retry_after(&mut self) {
        self.0
            .retain(|(name, _)| !name.starts_with("retry-after") && name != AWS_RETRY_AFTER);
    }

    /// Returns an iterator over the names and values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
    }
}
