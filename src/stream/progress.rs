//! The request of an exchange, as far as it is known.

use super::charging::Charging;
use crate::admit::Expected;
use crate::attributes::Llm;
use crate::settle::RequestSize;
use std::time::Duration;
use usage_meter::request::Endpoint;
use usage_meter::request::Parameters;
use usage_meter::{Estimator, Usage};

/// The most output tokens that a request is expected to use, whatever bound it has: more than any model
/// generates.
const MAX_OUTPUT_TOKENS: u64 = 1_000_000;

/// The request of an exchange, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct RequestProgress {
    /// Whether the last callback kept the body back.
    pub(super) is_paused: bool,
    /// The bytes of the body that were seen.
    pub(super) bytes: u64,
    /// Whether the whole request was seen.
    pub(super) has_ended: bool,
    /// The length of the body by the request's headers.
    pub(super) content_length: Option<u64>,
    /// The path.
    pub(super) path: String,
    /// What of the response is charged.
    pub(super) charging: Charging,
    /// The API that the path leads to, if it is a known one.
    pub(super) endpoint: Option<Endpoint>,
    /// The parameters in the body.
    pub(super) parameters: Parameters,
}

// === impl RequestProgress ===

impl RequestProgress {
    /// Returns the requested model: that of the path, where it names one, whatever the body says.
    pub(super) fn model(&self) -> Option<&str> {
        let endpoint = self.endpoint.as_ref();
        let of_path = endpoint.and_then(|endpoint| endpoint.model.as_deref());
        of_path.or(self.parameters.model.as_deref())
    }

    /// Returns whether the client has sent a whole request with a body.
    pub(super) fn has_whole_body(&self) -> bool {
        (self.has_ended || self.content_length == Some(self.bytes)) && self.bytes > 0
    }

    /// Returns the attribute `llm`, by the path and, when it is known, the body of so many bytes.
    pub(super) fn llm(&self, estimator: &Estimator, body_bytes: Option<u64>) -> Llm {
        let endpoint = self.endpoint.as_ref();
        let model = self.model();
        let parameters = &self.parameters;
        Llm {
            provider: endpoint.map(|endpoint| endpoint.provider),
            api: endpoint.map(|endpoint| endpoint.api),
            model: model.map(str::to_owned),
            // A request that does not request a stream gets none.
            stream: parameters
                .stream
                .or_else(|| endpoint?.stream)
                .or(body_bytes.map(|_| false)),
            max_output_tokens: parameters.max_output_tokens,
            estimated_input_tokens: body_bytes
                .map(|bytes| estimator.input_tokens(model, parameters.input_bytes(bytes))),
        }
    }

    /// Returns the expected usage of the request, whose body has so many bytes.
    pub(super) fn expected(&self, estimator: &Estimator, body_bytes: Option<u64>) -> Expected<'_> {
        let model = self.model();
        if body_bytes == Some(0) {
            return Expected {
                model,
                ..Expected::default()
            };
        }
        let bytes = self.parameters.input_bytes(body_bytes.unwrap_or_default());
        let input_tokens = estimator.input_tokens(model, bytes);
        let output_tokens = match self.parameters.max_output_tokens {
            Some(tokens) => tokens.min(MAX_OUTPUT_TOKENS),
            None => estimator.expected_output_tokens(model),
        };
        let usage = Usage {
            input_tokens,
            output_tokens,
            total_tokens: input_tokens.saturating_add(output_tokens),
            ..Usage::default()
        };
        Expected { model, usage }
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
            input_bytes: self.parameters.input_bytes(self.bytes),
            expected: self.expected(estimator, Some(self.bytes)).usage,
            elapsed,
            is_complete: false,
        }
    }
}
