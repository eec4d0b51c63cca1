//! The request of an exchange, as far as it is known.

use super::body_location::BodyLocation;
use super::chargeable::Chargeable;
use super::held_body::HeldBody;
use super::kept::Kept;
use super::redirection::Redirection;
use crate::admit::Expected;
use crate::attributes::Llm;
use crate::settle::RequestSize;
use std::sync::Arc;
use std::time::Duration;
use usage_meter::request::{BodyReader, Endpoint, Parameters};
use usage_meter::{Estimator, RequestPath, Usage};

/// The maximum number of output tokens that an exchange is estimated to use, more than any model generates.
const MAX_OUTPUT_TOKENS: u64 = 1_000_000;

/// The largest length of a body that headers can declare; a larger number is none.
const MAX_BODY_BYTES: u64 = usage_meter::MAX_TOKENS;

/// The bytes of an unread body that all count as text, about 30,000 tokens. Most of a larger one is likely
/// to be something else.
const MAX_UNREAD_TEXT_BYTES: u64 = 128 * 1024;

/// Of the bytes beyond [`MAX_UNREAD_TEXT_BYTES`], one in this number counts as text.
const UNREAD_BYTES_DIVISOR: u64 = 8;

/// The most of these bytes that count as text, more than most models read: a client can claim any length.
const MAX_UNREAD_REST_BYTES: u64 = 1024 * 1024;

/// The longest identifier of a response that is kept: the meter reads none that is longer.
const MAX_ID_BYTES: usize = 512;

/// The identifier of a response that a request fetches; empty if it is too long to be one.
#[derive(Debug)]
pub(super) struct FetchedId(Box<str>);

/// The request of an exchange, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct RequestProgress {
    /// The bytes of the body that the last callback left in Envoy's buffer.
    pub(super) left: usize,
    /// What of the body is held in the stream.
    pub(super) held: HeldBody,
    /// Where the body is held.
    pub(super) body_location: BodyLocation,
    /// Reads the body as it passes, until its end.
    pub(super) reader: Option<Box<BodyReader>>,
    /// The bytes of the body that were read.
    pub(super) read_bytes: u64,
    /// The bytes of the body that were seen.
    pub(super) bytes: u64,
    /// Whether the whole body was seen.
    pub(super) body_has_ended: bool,
    /// Whether the whole request was seen.
    pub(super) has_ended: bool,
    /// What the request keeps while it is not decided on, or for its costs.
    pub(super) kept: Kept,
    /// Whether there was no memory to read all of the body.
    pub(super) lacks_memory: bool,
    /// The length of the body by the request's headers.
    pub(super) content_length: Option<u64>,
    /// What matters of the path for the response.
    pub(super) path: RequestPath,
    /// Whether the response is charged.
    pub(super) chargeable: Chargeable,
    /// The identifier of the response that it fetches, which another request has started.
    pub(super) fetched: Option<FetchedId>,
    /// The API that the path leads to, if it is a known one.
    pub(super) endpoint: Option<Endpoint>,
    /// The parameters in the body.
    pub(super) parameters: Parameters,
    /// Whether Envoy has redirected it before.
    pub(super) redirection: Redirection,
}

// === impl FetchedId ===

impl FetchedId {
    pub(super) fn new(id: &str) -> Self {
        let is_known = id.len() <= MAX_ID_BYTES;
        Self(if is_known { id } else { "" }.into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl RequestProgress ===

impl RequestProgress {
    /// Returns the requested model: that of the path, where it names one, whatever the body says.
    pub(super) fn model(&self) -> Option<&str> {
        self.shared_model().map(|model| &**model)
    }

    fn shared_model(&self) -> Option<&Arc<str>> {
        let endpoint = self.endpoint.as_ref();
        let of_path = endpoint.and_then(|endpoint| endpoint.model.as_ref());
        of_path.or(self.parameters.model.as_ref())
    }

    /// Returns the length of the body by the request's headers, as far as it is plausible: for estimates.
    pub(super) fn declared_bytes(&self) -> Option<u64> {
        self.content_length.filter(|bytes| *bytes <= MAX_BODY_BYTES)
    }

    /// Returns whether the client has sent a whole request with a body.
    pub(super) fn has_whole_body(&self) -> bool {
        (self.has_ended || self.content_length == Some(self.bytes)) && self.bytes > 0
    }

    /// Takes the parameters that were read so far.
    pub(super) fn update_parameters(&mut self) {
        if let Some(reader) = &self.reader {
            self.parameters.clone_from(reader.parameters());
            self.read_bytes = reader.bytes();
        }
    }

    /// Ends the reading of a body that was decided on before its end.
    pub(super) fn end_reading(&mut self) {
        self.update_parameters();
        self.reader = None;
    }

    /// Returns the bytes of text that the model reads of a body of so many bytes. It is not known whether
    /// unread bytes are text: the more there are, the less likely it is, and beside images it is unlikely.
    fn input_bytes(&self, body_bytes: u64) -> u64 {
        let read = self.read_bytes.min(body_bytes);
        let known = self.parameters.input_bytes(read);
        if self.parameters.parts > 0 {
            return known;
        }
        let unread = body_bytes.saturating_sub(read);
        let text = unread.min(MAX_UNREAD_TEXT_BYTES);
        let rest = unread.saturating_sub(text) / UNREAD_BYTES_DIVISOR;
        let rest = rest.min(MAX_UNREAD_REST_BYTES);
        known.saturating_add(text).saturating_add(rest)
    }

    /// Returns an estimate of the input tokens of a body of `body_bytes`.
    fn input_tokens(&self, estimator: &Estimator, model: Option<&str>, body_bytes: u64) -> u64 {
        let text = estimator.input_tokens(model, self.input_bytes(body_bytes));
        let parts = estimator.part_tokens(model, self.parameters.parts);
        text.saturating_add(parts)
    }

    /// Returns the attribute `llm`, by the path and the body, as far as it was read; `is_whole` if all of
    /// it was.
    pub(super) fn llm(&self, estimator: &Estimator, is_whole: bool) -> Llm {
        let endpoint = self.endpoint.as_ref();
        let model = self.model();
        let parameters = &self.parameters;
        Llm {
            provider: endpoint.map(|endpoint| endpoint.provider),
            api: endpoint.map(|endpoint| endpoint.api),
            model: self.shared_model().cloned(),
            // A request that does not request a stream gets none.
            stream: parameters
                .stream
                .or_else(|| endpoint?.stream)
                .or(is_whole.then_some(false)),
            max_output_tokens: self.output_bound(),
            estimated_input_tokens: (is_whole || self.read_bytes > 0)
                .then(|| self.input_tokens(estimator, model, self.read_bytes)),
        }
    }

    /// Returns the bound that the request sets on its output.
    pub(super) fn output_bound(&self) -> Option<u64> {
        self.parameters.max_output_tokens(self.endpoint.as_ref())
    }

    /// Returns the expected usage of the request, whose body has so many bytes. What the request sets as bounds
    /// counts as far as it is plausible of the model.
    pub(super) fn expected(&self, estimator: &Estimator, body_bytes: Option<u64>) -> Expected<'_> {
        let model = self.model();
        let plausible = estimator.plausible_output_tokens(model);
        let input_tokens = self.input_tokens(estimator, model, body_bytes.unwrap_or_default());
        Expected {
            model,
            usage: self.usage(estimator, body_bytes, plausible),
            plausible_tokens: input_tokens.saturating_add(plausible),
        }
    }

    /// Returns an estimate of the usage of the request, whose body has so many bytes, with at most so many
    /// output tokens.
    fn usage(&self, estimator: &Estimator, body_bytes: Option<u64>, max_output: u64) -> Usage {
        if body_bytes == Some(0) {
            return Usage::default();
        }
        let model = self.model();
        let input_tokens = self.input_tokens(estimator, model, body_bytes.unwrap_or_default());
        let output_tokens = self.output_bound().unwrap_or_else(|| {
            let of_a_choice = estimator.expected_output_tokens(model);
            of_a_choice.saturating_mul(self.parameters.choices())
        });
        Usage::new(input_tokens, output_tokens.min(max_output))
    }

    /// Returns whether the request may make a model generate text: unless its path leads to another API.
    pub(super) fn may_generate_text(&self) -> bool {
        let endpoint = self.endpoint.as_ref();
        endpoint.is_none_or(Endpoint::generates_text)
    }

    /// Returns the size of the request, for estimates. `answered_by` is the model that the response names,
    /// `elapsed` the time for which the upstream may have generated text.
    pub(super) fn size<'a>(
        &'a self,
        estimator: &Estimator,
        answered_by: Option<&'a str>,
        elapsed: Duration,
    ) -> RequestSize<'a> {
        RequestSize {
            model: self.model().or(answered_by),
            input_bytes: self.input_bytes(self.bytes),
            input_parts: self.parameters.parts,
            expected: self.usage(estimator, Some(self.bytes), MAX_OUTPUT_TOKENS),
            elapsed,
            is_complete: false,
            is_unread: false,
        }
    }
}
