//! The variable `llm`: the model that a request is for, and what it asks of it.

use super::value::{Value, integer, string};
use cel::common::types::CelBool;
use filter_config::LlmField;
use std::sync::Arc;

/// The fields of `llm`, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Llm {
    /// The provider whose API the request is written for.
    pub provider: Option<&'static str>,
    /// Which of the provider's APIs.
    pub api: Option<&'static str>,
    /// The model.
    pub model: Option<Arc<str>>,
    /// Whether the response is to be streamed.
    pub stream: Option<bool>,
    /// The most tokens that may be generated.
    pub max_output_tokens: Option<u64>,
    /// Tokens of the request, estimated from its size.
    pub estimated_input_tokens: Option<u64>,
}

// === impl Llm ===

impl Llm {
    /// Returns a field's value.
    pub(super) fn value(&self, field: LlmField) -> Option<Value> {
        match field {
            LlmField::Provider => self.provider.map(string),
            LlmField::Api => self.api.map(string),
            LlmField::Model => self.model.as_deref().map(string),
            LlmField::Stream => Some(Box::new(CelBool::from(self.stream?))),
            LlmField::MaxOutputTokens => self.max_output_tokens.map(integer),
            LlmField::EstimatedInputTokens => self.estimated_input_tokens.map(integer),
        }
    }
}
