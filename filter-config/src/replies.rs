//! How refusals look, and which quota headers callers get.

mod template;

use crate::bounds;
use crate::fault::{FaultKind, Faults};
use crate::fields::{self, Fields, Schema};
use crate::json::Json;
use crate::path::Path;

pub use template::{BODY_PLACEHOLDERS, NAME_PLACEHOLDERS, Placeholder, Template};

/// The `replies` of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replies {
    /// The status of a refusal, 400 to 599.
    pub status: u16,
    /// The content type of a refusal's body, instead of the default; safe as a header value.
    pub content_type: Option<String>,
    /// The body of a refusal, instead of the default one.
    pub body: Option<Template>,
    /// The shape of the default body.
    pub error: ErrorShape,
    /// The quota headers of refusals and of admitted responses. Where none are given, refusals
    /// have those of the third draft, and admitted responses none.
    pub headers: Option<QuotaHeaders>,
}

/// A style of quota headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaHeaders {
    /// No quota headers.
    None,
    /// `x-ratelimit-limit`, `x-ratelimit-remaining` and `x-ratelimit-reset` of the third draft of
    /// "`RateLimit` header fields for HTTP".
    Draft03,
    /// `RateLimit` and `RateLimit-Policy`, structured fields of its tenth draft.
    Ietf,
    /// `x-ratelimit-limit-tokens` and the others that `OpenAI`'s API has.
    OpenAi,
    /// Headers with names of one's own.
    Named(HeaderNames),
}

/// The names of quota headers; those that are not given are not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderNames {
    /// That of the header that has the most that may be used.
    pub limit: Option<Template>,
    /// That of the header that has what is left.
    pub remaining: Option<Template>,
    /// That of the header that has the seconds until the limit is unused.
    pub reset: Option<Template>,
    /// That of the header of a refusal that has the seconds until the next try.
    pub retry_after: Option<Template>,
}

/// Whose errors a refusal looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorShape {
    /// Those of the API that the request's path leads to; `OpenAI`'s where that is unknown.
    #[default]
    Auto,
    /// `{"error": {"message", "type", "param", "code"}}`.
    OpenAi,
    /// `{"type": "error", "error": {"type", "message"}}`.
    Anthropic,
    /// `{"error": {"code", "message", "status"}}`.
    Gemini,
}

pub(crate) const SCHEMA: Schema = Schema {
    known: &["status", "contentType", "body", "error", "headers"],
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
            error: ErrorShape::default(),
            headers: None,
        }
    }
}

/// Reads `replies`.
pub(crate) fn read(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Replies> {
    let fields = Fields::read(json, path, &SCHEMA, faults)?;
    let default = Replies::default();
    let status = fields.read_or("status", path, faults, || default.status, status);
    let content_type = fields.read_optional("contentType", path, faults, content_type);
    let body = fields.read_optional("body", path, faults, template::body);
    let error = fields.read_or("error", path, faults, ErrorShape::default, error);
    let headers = fields.read_optional("headers", path, faults, headers);
    Some(Replies {
        status: status?,
        content_type: content_type?,
        body: body?,
        error: error?,
        headers: headers?,
    })
}

fn status(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<u16> {
    let status = fields::whole(json, &bounds::REPLY_STATUS, path, faults)?;
    u16::try_from(status).ok()
}

fn content_type(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<String> {
    let value = fields::text(json, bounds::REPLY_CONTENT_TYPE_BYTES, path, faults)?;
    if !value
        .bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic())
    {
        let kind = FaultKind::Malformed("a header value must be printable ASCII");
        faults.push(path, kind);
        return None;
    }
    Some(value.to_owned())
}

fn error(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<ErrorShape> {
    let choices = [
        ("auto", ErrorShape::Auto),
        ("openai", ErrorShape::OpenAi),
        ("anthropic", ErrorShape::Anthropic),
        ("gemini", ErrorShape::Gemini),
    ];
    fields::choice(json, &choices, path, faults)
}

fn headers(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<QuotaHeaders> {
    if matches!(json, Json::Object(_)) {
        return header_names(json, path, faults).map(QuotaHeaders::Named);
    }
    let choices = [
        ("none", &QuotaHeaders::None),
        ("draft-03", &QuotaHeaders::Draft03),
        ("ietf", &QuotaHeaders::Ietf),
        ("openai", &QuotaHeaders::OpenAi),
    ];
    fields::choice(json, &choices, path, faults).cloned()
}

fn header_names(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<HeaderNames> {
    let fields = Fields::read(json, path, &HEADER_NAMES, faults)?;
    if matches!(json, Json::Object(entries) if entries.is_empty()) {
        faults.push(path, FaultKind::MustNotBeEmpty);
    }
    let limit = fields.read_optional("limit", path, faults, template::name);
    let remaining = fields.read_optional("remaining", path, faults, template::name);
    let reset = fields.read_optional("reset", path, faults, template::name);
    let retry_after = fields.read_optional("retryAfter", path, faults, template::name);
    Some(HeaderNames {
        limit: limit?,
        remaining: remaining?,
        reset: reset?,
        retry_after: retry_after?,
    })
}

#[cfg(test)]
mod tests;
