//! How refusals look, and which quota headers callers get.

use crate::bounds;
use crate::fault::{FaultKind, Faults};
use crate::fields::{self, Fields, Schema};
use crate::json::Json;
use crate::path::Path;

/// The `replies` of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replies {
    /// The status of a refusal, 400 to 599.
    pub status: u16,
    /// The content type of a refusal's body, instead of the default; safe as a header value.
    pub content_type: Option<String>,
    /// The body of a refusal, instead of the default one.
    pub body: Option<String>,
    /// The quota headers of refusals and of admitted responses. Where none are given, refusals
    /// have those of the third draft, and admitted responses none.
    pub headers: Option<QuotaHeaders>,
}

/// A style of quota headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaHeaders {
    /// No quota headers.
    None,
    /// `x-ratelimit-limit`, `x-ratelimit-remaining` and `x-ratelimit-reset` of the third draft of
    /// "`RateLimit` header fields for HTTP".
    Draft03,
}

pub(crate) const SCHEMA: Schema = Schema {
    known: &["status", "contentType", "body", "headers"],
    ignored: &[],
    planned: &[],
};

// === impl Replies ===

impl Default for Replies {
    fn default() -> Self {
        Replies {
            status: 429,
            content_type: None,
            body: None,
            headers: None,
        }
    }
}

/// Reads `replies`.
pub(crate) fn read(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Replies> {
    let fields = Fields::read(json, path, &SCHEMA, faults)?;
    let default = Replies::default();
    let status = fields.read_or("status", path, faults, || default.status, status);
    let content_type = fields.read_or("contentType", path, faults, || None, content_type);
    let body = fields.read_or("body", path, faults, || None, body);
    let headers = fields.read_or("headers", path, faults, || default.headers, headers);
    Some(Replies {
        status: status?,
        content_type: content_type?,
        body: body?,
        headers: headers?,
    })
}

fn status(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<u16> {
    let status = fields::whole(json, &bounds::REPLY_STATUS, path, faults)?;
    u16::try_from(status).ok()
}

#[allow(clippy::option_option)] // Outside: whether it could be read. Inside: whether it was given.
fn content_type(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Option<String>> {
    let value = fields::text(json, bounds::REPLY_CONTENT_TYPE_BYTES, path, faults)?;
    if !value
        .bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic())
    {
        let kind = FaultKind::Malformed("a header value must be printable ASCII");
        faults.push(path, kind);
        return None;
    }
    Some(Some(value.to_owned()))
}

#[allow(clippy::option_option)]
fn body(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Option<String>> {
    let Json::String(body) = json else {
        fields::expected(json, "a string", path, faults);
        return None;
    };
    let most = bounds::REPLY_BODY_BYTES;
    fields::at_most(body.len(), "bytes", most, path, faults).then(|| Some(body.clone()))
}

#[allow(clippy::option_option)]
fn headers(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Option<QuotaHeaders>> {
    if matches!(json, Json::Object(_)) {
        faults.push(path, FaultKind::NotSupported);
        return None;
    }
    let choices = [
        ("none", QuotaHeaders::None),
        ("draft-03", QuotaHeaders::Draft03),
    ];
    fields::choice(json, &choices, &["ietf", "openai"], path, faults).map(Some)
}
