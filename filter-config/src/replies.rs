//! `replies`: the form of rejections, and the quota headers of responses.

pub(crate) mod extra;
mod template;

use std::time::Duration;

use crate::access;
use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::fields::{Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::reader;
use crate::values;

pub use template::{Placeholder, Template};

/// The `replies` of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replies {
    /// The status of a rejection, 400 to 599.
    pub status: u16,
    /// The content type of a rejection's body, instead of the default; safe as a header value.
    pub content_type: Option<String>,
    /// The body of a rejection, instead of the default.
    pub body: Option<Template>,
    /// The format of the default body.
    pub error: ErrorFormatSetting,
    /// The quota headers of responses. If not given, rejections have those of [`QuotaHeaders::Draft03`], and other
    /// responses have none.
    pub headers: Option<QuotaHeaders>,
    /// The longest wait that a rejection requests, within [`bounds::MAX_RETRY_AFTER`]. SDKs wait for as long as they are
    /// requested to; where it would be longer, they are requested not to retry.
    pub max_retry_after: Duration,
    /// The handling of the upstream's own quota headers. If not given, they are replaced where
    /// the filter writes quota headers, and kept where it does not.
    pub upstream_headers: Option<UpstreamHeaders>,
    /// Headers of every reply that the filter itself sends: names in lower case, and values that are safe in a header.
    pub extra: Vec<(String, String)>,
}

/// The reply to the requests that one limit rejects, where it is not that of [`Replies`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitReply {
    /// The status, 400 to 599.
    pub status: Option<u16>,
    /// The code in the default body, where the format of the API has one.
    pub code: Option<String>,
    /// The body instead of the default.
    pub body: Option<Template>,
    /// Further headers, as [`Replies::extra`]. They replace those.
    pub headers: Vec<(String, String)>,
}

/// The handling of the upstream's own quota headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamHeaders {
    /// They stay. A response that has some gets none of the filter's.
    Keep,
    /// They are removed.
    Replace,
    /// They are renamed: their names begin with `x-upstream-`.
    Prefix,
}

/// A style of quota headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaHeaders {
    /// No quota headers.
    None,
    /// Those of the API that the request's path belongs to: [`QuotaHeaders::OpenAi`], [`QuotaHeaders::Anthropic`], or
    /// [`QuotaHeaders::Ietf`] where its provider has none.
    Auto,
    /// `x-ratelimit-limit`, `x-ratelimit-remaining` and `x-ratelimit-reset` of the third draft of
    /// "`RateLimit` header fields for HTTP".
    Draft03,
    /// `RateLimit` and `RateLimit-Policy`, structured fields of its tenth draft.
    Ietf,
    /// `x-ratelimit-limit-tokens` and the others of `OpenAI`'s API.
    OpenAi,
    /// `anthropic-ratelimit-tokens-limit` and the others of Anthropic's API.
    Anthropic,
    /// Headers with configured names.
    Named(HeaderNames),
}

/// The names of quota headers. Headers without a name are not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderNames {
    /// The header that has the limit.
    pub limit: Option<Template>,
    /// The header that has the remaining quota.
    pub remaining: Option<Template>,
    /// The header that has the seconds until the limit is unused.
    pub reset: Option<Template>,
    /// The header of a rejection that has the seconds until a retry can succeed.
    pub retry_after: Option<Template>,
}

/// The provider whose error format a rejection has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorFormatSetting {
    /// The provider of the API that the request's path belongs to; `OpenAI` if that is unknown.
    #[default]
    Auto,
    /// `{"error": {"message", "type", "param", "code"}}`.
    OpenAi,
    /// `{"type": "error", "error": {"type", "message"}}`.
    Anthropic,
    /// `{"error": {"code", "message", "status", "details"}}`.
    Gemini,
    /// `{"message"}`, and the header `x-amzn-errortype`.
    Bedrock,
    /// `{"error"}`, a text.
    Ollama,
    /// `{"message"}`.
    Cohere,
    /// `{"object": "error", "message", "type", "param", "code"}`.
    Mistral,
}

pub(crate) const SCHEMA: Schema = Schema {
    known: &[
        "status",
        "contentType",
        "body",
        "error",
        "headers",
        "maxRetryAfter",
        "upstreamHeaders",
        "extra",
    ],
    ignored: &[],
};

pub(crate) const LIMIT_REPLY: Schema = Schema {
    known: &["status", "code", "body", "headers"],
    ignored: &[],
};

pub(crate) const HEADER_NAMES: Schema = Schema {
    known: &["limit", "remaining", "reset", "retryAfter"],
    ignored: &[],
};

// === impl Replies ===

impl Default for Replies {
    fn default() -> Self {
        Replies {
            status: 429,
            content_type: None,
            body: None,
            error: ErrorFormatSetting::default(),
            headers: None,
            max_retry_after: Duration::from_secs(60),
            upstream_headers: None,
            extra: Vec::new(),
        }
    }
}

/// Reads `replies`.
pub(crate) fn read(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Replies, Invalid> {
    let fields = Fields::read(json, path, &SCHEMA, errors)?;
    let default = Replies::default();
    let status = fields.read_or("status", path, errors, || default.status, status);
    let content_type = fields.read_optional("contentType", path, errors, |json, path, errors| {
        values::header_value(json, bounds::REPLY_CONTENT_TYPE_BYTES, path, errors)
    });
    let body = fields.read_optional("body", path, errors, template::body);
    let error = fields.read_or("error", path, errors, ErrorFormatSetting::default, error);
    let headers = fields.read_optional("headers", path, errors, headers);
    let max_retry_after = fields.read_or(
        "maxRetryAfter",
        path,
        errors,
        || default.max_retry_after,
        max_retry_after,
    );
    let upstream_headers = fields.read_optional("upstreamHeaders", path, errors, upstream_headers);
    let extra = fields.read_or("extra", path, errors, Vec::new, extra::read);
    Ok(Replies {
        status: status?,
        content_type: content_type?,
        body: body?,
        error: error?,
        headers: headers?,
        max_retry_after: max_retry_after?,
        upstream_headers: upstream_headers?,
        extra: extra?,
    })
}

/// Reads the `reply` of a limit.
pub(crate) fn of_limit(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<LimitReply, Invalid> {
    let fields = Fields::read(json, path, &LIMIT_REPLY, errors)?;
    let status = fields.read_optional("status", path, errors, status);
    let code = fields.read_optional("code", path, errors, access::code);
    let body = fields.read_optional("body", path, errors, template::body);
    let headers = fields.read_or("headers", path, errors, Vec::new, extra::read);
    Ok(LimitReply {
        status: status?,
        code: code?,
        body: body?,
        headers: headers?,
    })
}

fn max_retry_after(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Duration, Invalid> {
    const EXPECTED: &str = "a duration from \"1s\" to \"366d\"";
    let within = &bounds::MAX_RETRY_AFTER;
    values::duration(json, within, EXPECTED, |text| text, path, errors)
}

fn upstream_headers(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<UpstreamHeaders, Invalid> {
    let choices = [
        ("keep", UpstreamHeaders::Keep),
        ("replace", UpstreamHeaders::Replace),
        ("prefix", UpstreamHeaders::Prefix),
    ];
    reader::choice(json, &choices, path, errors)
}

fn status(json: &Json, path: &Path<'_>, errors: &mut ValidationErrors) -> Result<u16, Invalid> {
    let status = reader::whole(json, &bounds::REPLY_STATUS, path, errors)?;
    u16::try_from(status).map_err(|_| Invalid)
}

fn error(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<ErrorFormatSetting, Invalid> {
    let choices = [
        ("auto", ErrorFormatSetting::Auto),
        ("openai", ErrorFormatSetting::OpenAi),
        ("anthropic", ErrorFormatSetting::Anthropic),
        ("gemini", ErrorFormatSetting::Gemini),
        ("bedrock", ErrorFormatSetting::Bedrock),
        ("ollama", ErrorFormatSetting::Ollama),
        ("cohere", ErrorFormatSetting::Cohere),
        ("mistral", ErrorFormatSetting::Mistral),
    ];
    reader::choice(json, &choices, path, errors)
}

fn headers(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<QuotaHeaders, Invalid> {
    if matches!(json, Json::Object(_)) {
        return header_names(json, path, errors).map(QuotaHeaders::Named);
    }
    let choices = [
        ("none", &QuotaHeaders::None),
        ("auto", &QuotaHeaders::Auto),
        ("draft-03", &QuotaHeaders::Draft03),
        ("ietf", &QuotaHeaders::Ietf),
        ("openai", &QuotaHeaders::OpenAi),
        ("anthropic", &QuotaHeaders::Anthropic),
    ];
    reader::choice(json, &choices, path, errors).cloned()
}

fn header_names(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<HeaderNames, Invalid> {
    let fields = Fields::read(json, path, &HEADER_NAMES, errors)?;
    if matches!(json, Json::Object(entries) if entries.is_empty()) {
        errors.push(path, ErrorKind::Empty);
    }
    let limit = fields.read_optional("limit", path, errors, template::name);
    let remaining = fields.read_optional("remaining", path, errors, template::name);
    let reset = fields.read_optional("reset", path, errors, template::name);
    let retry_after = fields.read_optional("retryAfter", path, errors, template::name);
    Ok(HeaderNames {
        limit: limit?,
        remaining: remaining?,
        reset: reset?,
        retry_after: retry_after?,
    })
}

#[cfg(test)]
mod tests;
