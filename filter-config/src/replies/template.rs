//! Texts with placeholders: the body of a refusal, and the names of quota headers.

use crate::bounds;
use crate::fault::{FaultKind, Faults};
use crate::fields;
use crate::json::Json;
use crate::path::Path;
use crate::suggestion;

/// A text in which placeholders such as `{limit}` stand for what is known only later.
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

/// What a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// The name of the limit.
    Limit,
    /// The name of the policy: `namespace/name` in a body, in a header's name without the namespace.
    Policy,
    /// The namespace of the policy.
    Namespace,
    /// What is counted, such as `tokens`.
    Unit,
    /// The window as the policy writes it, such as `1m`.
    Window,
    /// The length of the window in seconds.
    Seconds,
    /// `second`, `minute`, `hour`, `day`, `week`, `month` (30 days) or `year` (365 days) for a window
    /// of that length, else its length in seconds.
    Period,
    /// The most that may be used.
    Max,
    /// What is left.
    Remaining,
    /// Seconds until the limit is unused again or, where nothing fits, until something does.
    Reset,
    /// Seconds until the request can be tried again, at least 1.
    RetryAfter,
    /// The sentence that a refusal says without a template.
    Message,
}

/// The placeholders that the body of a refusal can have.
pub const BODY_PLACEHOLDERS: &[(&str, Placeholder)] = &[
    ("limit", Placeholder::Limit),
    ("policy", Placeholder::Policy),
    ("max", Placeholder::Max),
    ("window", Placeholder::Window),
    ("reset", Placeholder::Reset),
    ("retryAfter", Placeholder::RetryAfter),
    ("remaining", Placeholder::Remaining),
    ("message", Placeholder::Message),
];

/// The placeholders that the name of a header can have: what does not change between requests.
pub const NAME_PLACEHOLDERS: &[(&str, Placeholder)] = &[
    ("limit", Placeholder::Limit),
    ("policy", Placeholder::Policy),
    ("namespace", Placeholder::Namespace),
    ("unit", Placeholder::Unit),
    ("window", Placeholder::Window),
    ("seconds", Placeholder::Seconds),
    ("period", Placeholder::Period),
];

/// Headers that mean something to those who carry a response on, or that Envoy writes itself.
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
    /// The text, with what `value` writes in the place of each placeholder.
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

    /// The text as the name of a header, in lower case: what a name cannot have becomes `-`.
    pub fn render_name(&self, value: impl FnMut(Placeholder, &mut String)) -> String {
        let letters = self.render(value).into_bytes().into_iter();
        letters
            .map(|byte| match byte {
                _ if is_token(byte) => char::from(byte.to_ascii_lowercase()),
                _ => '-',
            })
            .collect()
    }

    /// Reads a text whose `{word}`s are placeholders where they are known, and text elsewhere.
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
    /// A text that is the same for every request.
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

/// Reads the body of a refusal.
pub(super) fn body(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Template> {
    let Json::String(body) = json else {
        fields::expected(json, "a string", path, faults);
        return None;
    };
    let most = bounds::REPLY_BODY_BYTES;
    fields::at_most(body.len(), "bytes", most, path, faults)
        .then(|| Template::lenient(body, BODY_PLACEHOLDERS))
}

/// Reads the name of a header. What is in braces has to be a placeholder, and no name that comes of
/// it can be one that means something else.
pub(super) fn name(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Template> {
    let text = fields::text(json, bounds::HEADER_NAME_BYTES, path, faults)?;
    let template = Template::lenient(text, NAME_PLACEHOLDERS);
    let text_of = |part: &Part| match part {
        Part::Text(text) => Some(text.to_ascii_lowercase()),
        Part::Value(_) => None,
    };
    for text in template.parts.iter().filter_map(text_of) {
        if let Some((_, rest)) = text.split_once('{')
            && let Some((word, _)) = rest.split_once('}')
        {
            let known = NAME_PLACEHOLDERS.iter().map(|(name, _)| *name);
            let kind = FaultKind::UnknownPlaceholder {
                name: word.to_owned(),
                suggestion: suggestion::closest(word, known),
            };
            faults.push(path, kind);
            return None;
        }
        if !text.bytes().all(is_token) {
            faults.push(path, FaultKind::Malformed("not the name of a header"));
            return None;
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
        let reason = "expected a name that begins like no header with another meaning, such as \"x-ratelimit-\"";
        faults.push(path, FaultKind::Malformed(reason));
        return None;
    }
    Some(template)
}

/// Whether a byte can stand in the name of a header (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
