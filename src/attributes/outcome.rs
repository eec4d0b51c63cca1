//! The variables `usage` and `response`, which costs read.

use super::value::{Value, from_json};
use super::{header_map, object};
use crate::host::Headers;
use cel::common::types::{CelBool, CelDouble, CelInt};
use filter_config::{Number, RESPONSE_FIELDS, ResponseField, USAGE_FIELDS, UsageField, Usd};
use std::sync::{Arc, OnceLock};
use usage_meter::Usage;

/// The usage and response of an exchange, or those that are expected until they are known.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Tokens used.
    pub usage: Usage,
    /// Whether the usage is an estimate.
    pub estimated: bool,
    /// The usage in money, by the prices of the configuration.
    pub usd: Usd,
    /// The provider's own usage object, as JSON; empty where there is none.
    pub raw: Vec<u8>,
    /// The response's head.
    pub response: Response,
    /// The provider's usage object as a CEL value, parsed when an expression reads it.
    parsed: OnceLock<Value>,
}

/// The head of a response.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    /// The HTTP status.
    pub code: u16,
    /// The headers.
    pub headers: Arc<Headers>,
}

// === impl Response ===

impl Default for Response {
    /// Returns the response that is expected: success.
    fn default() -> Self {
        Self {
            code: 200,
            headers: Arc::default(),
        }
    }
}

// === impl Outcome ===

impl Outcome {
    /// Returns the outcome that is expected of a request.
    #[must_use]
    pub(crate) fn expected(usage: Usage, usd: Usd) -> Self {
        Self {
            usage,
            estimated: true,
            usd,
            ..Self::default()
        }
    }

    /// Returns a field of `usage` that is a number.
    #[expect(clippy::cast_precision_loss, reason = "CEL sees dollars as a fraction")]
    pub(super) fn number(&self, field: UsageField) -> Option<Number> {
        if field == UsageField::Usd {
            return Some(Number::Fraction(self.usd.0 as f64 / 1e9));
        }
        // The largest `int` of CEL.
        let tokens = self.tokens(field)?.min(i64::MAX as u64);
        Some(Number::Whole(tokens.into()))
    }

    /// Returns the tokens of a field; `None` for one that does not count tokens.
    fn tokens(&self, field: UsageField) -> Option<u64> {
        let usage = &self.usage;
        Some(match field {
            UsageField::InputTokens => usage.input_tokens,
            UsageField::OutputTokens => usage.output_tokens,
            UsageField::TotalTokens => usage.total_tokens,
            UsageField::CachedTokens => usage.cached_tokens,
            UsageField::CacheCreationTokens => usage.cache_creation_tokens,
            UsageField::ReasoningTokens => usage.reasoning_tokens,
            UsageField::Usd | UsageField::Estimated | UsageField::Raw => return None,
        })
    }

    /// Returns a variable of `usage` or `response` by its full name, or one of the two as a whole.
    pub(super) fn value(&self, name: &str) -> Option<Value> {
        if let Some((_, field, _)) = USAGE_FIELDS.iter().find(|(known, ..)| *known == name) {
            return Some(self.usage_field(*field));
        }
        if let Some((_, field, _)) = RESPONSE_FIELDS.iter().find(|(known, ..)| *known == name) {
            return Some(self.response_field(*field));
        }
        let field = |name: &'static str| {
            let (_, field) = name.split_once('.')?;
            Some((field.to_owned(), self.value(name)?))
        };
        let fields: Vec<_> = match name {
            "usage" => USAGE_FIELDS
                .iter()
                .filter_map(|(name, ..)| field(name))
                .collect(),
            "response" => {
                let fields = RESPONSE_FIELDS.iter();
                fields.filter_map(|(name, ..)| field(name)).collect()
            }
            _ => return None,
        };
        Some(object::value(fields.into_iter()))
    }

    fn usage_field(&self, field: UsageField) -> Value {
        match self.number(field) {
            Some(Number::Whole(tokens)) => {
                Box::new(CelInt::from(i64::try_from(tokens).unwrap_or(i64::MAX)))
            }
            Some(Number::Fraction(usd)) => Box::new(CelDouble::from(usd)),
            None if field == UsageField::Estimated => Box::new(CelBool::from(self.estimated)),
            None => self.raw().clone(),
        }
    }

    fn response_field(&self, field: ResponseField) -> Value {
        match field {
            ResponseField::Code => Box::new(CelInt::from(i64::from(self.response.code))),
            ResponseField::Headers => header_map::value(&self.response.headers),
        }
    }

    /// Returns the provider's own usage object; an empty one where it cannot be parsed.
    fn raw(&self) -> &Value {
        self.parsed.get_or_init(|| {
            let parsed = serde_json::from_slice(&self.raw);
            parsed.map_or_else(|_| object::value(std::iter::empty()), from_json)
        })
    }
}
