//! The variables `usage` and `response`: what an exchange used, and what it was answered with.

use super::header_map::HeaderMap;
use super::object::Object;
use super::{Value, body};
use crate::host::Headers;
use cel::common::types::{CelBool, CelDouble, CelInt};
use filter_config::{Number, RESPONSE_FIELDS, ResponseField, USAGE_FIELDS, UsageField, Usd};
use std::sync::{Arc, OnceLock};
use usage_meter::Usage;

/// What an exchange used and was answered with or, before it is known, what is expected.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What it used.
    pub usage: Usage,
    /// Whether that is an estimate.
    pub estimated: bool,
    /// What it costs by the prices of the configuration.
    pub usd: Usd,
    /// The provider's own usage object; empty where there is none.
    pub raw: Vec<u8>,
    /// What it was answered with.
    pub response: Response,
    parsed: OnceLock<Value>,
}

/// What an exchange was answered with.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub code: u16,
    /// The headers.
    pub headers: Arc<Headers>,
}

// === impl Response ===

impl Default for Response {
    /// What is expected: success.
    fn default() -> Self {
        Self {
            code: 200,
            headers: Arc::default(),
        }
    }
}

// === impl Outcome ===

impl Outcome {
    /// The outcome that is expected of a request.
    #[must_use]
    pub fn expected(usage: Usage, usd: Usd) -> Self {
        Self {
            usage,
            estimated: true,
            usd,
            ..Self::default()
        }
    }

    /// A field of `usage` that is a number.
    #[allow(clippy::cast_precision_loss)] // A fraction of a dollar is one.
    pub(super) fn number(&self, field: UsageField) -> Option<Number> {
        if field == UsageField::Usd {
            return Some(Number::Fraction(self.usd.0 as f64 / 1e9));
        }
        // `int` has no more.
        let tokens = self.count(field)?.min(i64::MAX as u64);
        Some(Number::Whole(tokens.into()))
    }

    /// The tokens of a field, if it is one of tokens.
    fn count(&self, field: UsageField) -> Option<u64> {
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

    /// A variable of `usage` or `response` by its full name, or one of the two as a whole.
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
        Some(Object::value(fields.into_iter()))
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
            ResponseField::Headers => Box::new(HeaderMap::new(&self.response.headers)),
        }
    }

    /// The provider's own usage object; an empty one where it cannot be read.
    fn raw(&self) -> &Value {
        self.parsed.get_or_init(|| {
            let parsed = serde_json::from_slice(&self.raw);
            parsed.map_or_else(|_| Object::value(std::iter::empty()), body::value)
        })
    }
}
