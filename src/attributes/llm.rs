//! The variable `llm`: what a request says of the model that it asks.

use super::{AttributeError, Attributes, Value, string};
use cel::common::types::{CelBool, CelInt};
use filter_config::{LLM_FIELDS, LlmField};

/// The fields of `llm`, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Llm {
    /// Whose API the request speaks.
    pub provider: Option<&'static str>,
    /// Which of the provider's APIs.
    pub api: Option<&'static str>,
    /// The model that is asked.
    pub model: Option<String>,
    /// Whether the answer is to be streamed.
    pub stream: Option<bool>,
    /// The most tokens that may be generated.
    pub max_output_tokens: Option<u64>,
    /// Tokens of the request, estimated from its size.
    pub estimated_input_tokens: Option<u64>,
}

impl Llm {
    fn value(&self, field: LlmField) -> Option<Value> {
        let number = |tokens: Option<u64>| -> Option<Value> {
            let tokens = i64::try_from(tokens?).unwrap_or(i64::MAX);
            Some(Box::new(CelInt::from(tokens)))
        };
        match field {
            LlmField::Provider => self.provider.map(string),
            LlmField::Api => self.api.map(string),
            LlmField::Model => self.model.as_deref().map(string),
            LlmField::Stream => Some(Box::new(CelBool::from(self.stream?))),
            LlmField::MaxOutputTokens => number(self.max_output_tokens),
            LlmField::EstimatedInputTokens => number(self.estimated_input_tokens),
        }
    }
}

impl Attributes {
    /// Takes a field of `llm`.
    pub(super) fn resolve_llm(&mut self, field: LlmField) -> Result<(), AttributeError> {
        let named = LLM_FIELDS.iter().find(|(_, known, _)| *known == field);
        let Some(&(name, ..)) = named else {
            return Ok(());
        };
        if self.llm_fields.iter().any(|(known, _)| *known == name) {
            return Ok(());
        }
        let value = self.llm.value(field);
        if value.is_none() && !matches!(field, LlmField::Provider | LlmField::Api) {
            // What a body that cannot be read would have said is not known, rather than absent.
            self.body.readable()?;
        }
        self.llm_fields.push((name, value));
        Ok(())
    }
}
