//! Templates: the body of a rejection and the names of quota headers, with placeholders.

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::json::Json;
use crate::path::Path;
use crate::reader::{self, unexpected};
use crate::suggestion;
use crate::values::{INVALID_HEADER_NAME, is_header_name_byte};

/// A text with placeholders such as `{limit}` for values that are known when it is rendered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(Placeholder),
}

/// The value that a placeholder is replaced with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// The name of the limit.
    Limit,
    /// The name of the policy: `namespace/name` in a body, without the namespace in the name of a header.
    Policy,
    /// The namespace of the policy.
    Namespace,
    /// The unit of the limit, such as `tokens`.
    Unit,
    /// The window as written in the policy, such as `1m`.
    Window,
    /// The length of the window in seconds.
    Seconds,
    /// `second`, `minute`, `hour`, `day`, `week`, `month` (30 days) or `year` (365 days) for a window of that length,
    /// otherwise the length in seconds.
    Period,
    /// The limit itself: the most that may be used in a window.
    Max,
    /// The remaining quota.
    Remaining,
    /// Seconds until the limit is unused again or, in a rejection, until a request fits.
    Reset,
    /// Seconds until a retry can succeed, at least 1.
    RetryAfter,
    /// The message of a rejection without a template.
    Message,
}

/// The placeholders of a rejection's body.
pub(super) const BODY_PLACEHOLDERS: [(&str, Placeholder); 8] = [
    ("limit", Placeholder::Limit),
    ("policy", Placeholder::Policy),
    ("max", Placeholder::Max),
    ("window", Placeholder::Window),
    ("reset", Placeholder::Reset),
    ("retryAfter", Placeholder::RetryAfter),
    ("remaining", Placeholder::Remaining),
    ("message", Placeholder::Message),
];

/// The placeholders of a header's name: values that are the same for all requests.
pub(super) const NAME_PLACEHOLDERS: [(&str, Placeholder); 7] = [
    ("limit", Placeholder::Limit),
    ("policy", Placeholder::Policy),
    ("namespace", Placeholder::Namespace),
    ("unit", Placeholder::Unit),
    ("window", Placeholder::Window),
    ("seconds", Placeholder::Seconds),
    ("period", Placeholder::Period),
];

/// Headers that have a meaning to Envoy or to other proxies.
const RESERVED: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "grpc-message",
    "grpc-status",
    "host",
    "keep-alive",
    "location",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

// === impl Template ===

impl Template {
    /// Returns the text, with each placeholder replaced by what `value` writes for it.
    pub fn render(&self, mut value: impl FnMut(Placeholder, &mut String)) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Value(placeholder) => value(*placeholder, &mut text),
            }
        }
        text
    }

    /// Returns the text as the name of a header, in lower case. Bytes that a name cannot have become `-`.
    pub fn render_name(&self, value: impl FnMut(Placeholder, &mut String)) -> String {
        let letters = self.render(value).into_bytes().into_iter();
        letters
            .map(|byte| match byte {
                _ if is_header_name_byte(byte) => char::from(byte.to_ascii_lowercase()),
                _ => '-',
            })
            .collect()
    }

    /// Parses a text in which a `{word}` is a placeholder if it is known, and text otherwise.
    fn lenient(text: &str, known: &[(&str, Placeholder)]) -> Self {
        let mut parts = Vec::new();
        let mut start = 0;
        for (open, _) in text.match_indices('{') {
            let after = |name: &str| text.get(open..)?.strip_prefix('{')?.strip_prefix(name);
            let is_meant = |name: &str| after(name).is_some_and(|rest| rest.starts_with('}'));
            if let Some((name, placeholder)) = known.iter().find(|(name, _)| is_meant(name)) {
                parts.extend(text.get(start..open).and_then(Part::text));
                parts.push(Part::Value(*placeholder));
                start = open.saturating_add(name.len()).saturating_add(2);
            }
        }
        parts.extend(text.get(start..).and_then(Part::text));
        Self { parts }
    }
}

impl From<&str> for Template {
    /// Returns a template without placeholders.
    fn from(text: &str) -> Self {
        Self {
            parts: Part::text(text).into_iter().collect(),
        }
    }
}

impl Part {
    fn text(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::Text(text.to_owned()))
    }
}

/// Reads the body of a rejection.
pub(super) fn body(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Template, Invalid> {
    let Json::String(body) = json else {
        return Err(unexpected(json, "a string", path, errors));
    };
    let max = bounds::REPLY_BODY_BYTES;
    reader::at_most(body.len(), "bytes", max, path, errors)?;
    Ok(Template::lenient(body, &BODY_PLACEHOLDERS))
}

/// Reads the name of a header. A word in braces has to be a placeholder, and no rendered name can be that of a header
/// with another meaning.
pub(super) fn name(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Template, Invalid> {
    let text = reader::text(json, bounds::HEADER_NAME_BYTES, path, errors)?;
    let template = Template::lenient(text, &NAME_PLACEHOLDERS);
    let text_of = |part: &Part| match part {
        Part::Text(text) => Some(text.to_ascii_lowercase()),
        Part::Value(_) => None,
    };
    for text in template.parts.iter().filter_map(text_of) {
        if let Some((_, rest)) = text.split_once('{')
            && let Some((word, _)) = rest.split_once('}')
        {
            let known = NAME_PLACEHOLDERS.map(|(name, _)| name);
            let kind = ErrorKind::UnknownPlaceholder {
                name: word.to_owned(),
                instead: suggestion::instead(word, &known),
            };
            return Err(errors.push(path, kind));
        }
        if !text.bytes().all(is_header_name_byte) {
            return Err(errors.push(path, ErrorKind::Malformed(INVALID_HEADER_NAME)));
        }
    }
    let start = template.parts.first().and_then(text_of).unwrap_or_default();
    let is_fixed = template.parts.len() == 1 && !start.is_empty();
    let is_reserved = RESERVED.iter().any(|reserved| {
        if is_fixed {
            *reserved == start
        } else {
            reserved.starts_with(&start)
        }
    });
    if is_reserved {
        let message = "reserved header name, expected another beginning such as \"x-ratelimit-\"";
        return Err(errors.push(path, ErrorKind::Malformed(message)));
    }
    Ok(template)
}
