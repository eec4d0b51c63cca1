//! `onExceeded`: the handling of requests that exceed a limit.

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::fields::{Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::reader::{self, unexpected};
use crate::values;
use std::time::Duration;

/// The handling of a request that exceeds a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Exceeded {
    /// The request is rejected.
    #[default]
    Deny,
    /// The request is admitted, and the decision is reported.
    Allow,
    /// The request is queued until it fits, in order of arrival.
    Queue(Queue),
    /// The request is changed to the first fallback that fits, and rejected if none does. At least one, at most
    /// [`bounds::ALTERNATIVES`].
    Alternatives(Vec<Alternative>),
}

/// The queue of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The maximum of queued requests per counter, within [`bounds::QUEUE_DEPTH`].
    pub depth: usize,
    /// The longest time that a request is queued for, within [`bounds::QUEUE_TIMEOUT`].
    pub timeout: Duration,
}

/// A fallback for a request: another model, other headers, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// The model that is requested instead, of visible ASCII.
    pub model: Option<String>,
    /// Headers that replace those of the request: names in lower case, values of printable ASCII. At most
    /// [`bounds::ALTERNATIVE_HEADERS`], with distinct names.
    pub headers: Vec<(String, String)>,
}

pub(crate) const EXCEEDED: Schema = Schema {
    known: &["queue", "alternatives"],
    ignored: &[],
};

pub(crate) const QUEUE: Schema = Schema {
    known: &["depth", "timeout"],
    ignored: &[],
};

pub(crate) const ALTERNATIVE: Schema = Schema {
    known: &["model", "headers"],
    ignored: &[],
};

/// Headers that describe the framing or the body of a message, or the use of its connection. A value that does not
/// match the message would break it.
const FRAMING: [&str; 13] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Reads an `onExceeded`: a word, or an object with one field.
pub(crate) fn read(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Exceeded, Invalid> {
    let expected =
        "\"deny\", \"allow\", or an object with exactly one of \"queue\" and \"alternatives\"";
    match json {
        Json::String(word) if word == "deny" => return Ok(Exceeded::Deny),
        Json::String(word) if word == "allow" => return Ok(Exceeded::Allow),
        Json::Object(_) => {}
        _ => {
            return Err(unexpected(json, expected, path, errors));
        }
    }
    let fields = Fields::read(json, path, &EXCEEDED, errors)?;
    match (fields.get("queue"), fields.get("alternatives")) {
        (Some(json), None) => queue(json, &path.field("queue"), errors).map(Exceeded::Queue),
        (None, Some(json)) => {
            alternatives(json, &path.field("alternatives"), errors).map(Exceeded::Alternatives)
        }
        _ => Err(unexpected(json, expected, path, errors)),
    }
}

fn queue(json: &Json, path: &Path<'_>, errors: &mut ValidationErrors) -> Result<Queue, Invalid> {
    let fields = Fields::read(json, path, &QUEUE, errors)?;
    let depth = fields.require("depth", path, errors, |json, path, errors| {
        reader::count(json, &bounds::QUEUE_DEPTH, path, errors)
    });
    let timeout = fields.require("timeout", path, errors, timeout);
    Ok(Queue {
        depth: depth?,
        timeout: timeout?,
    })
}

fn timeout(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Duration, Invalid> {
    const EXPECTED: &str = "a duration from \"10ms\" to \"10m\"";
    let within = &bounds::QUEUE_TIMEOUT;
    values::duration(json, within, EXPECTED, |text| text, path, errors)
}

fn alternatives(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Vec<Alternative>, Invalid> {
    let items = reader::list(json, "alternatives", bounds::ALTERNATIVES, path, errors)?;
    if items.is_empty() {
        errors.push(path, ErrorKind::Empty);
    }
    let mut alternatives = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let item_path = path.item(position);
        let Ok(alternative) = alternative(item, &item_path, errors) else {
            continue;
        };
        if let Some(first) = alternatives.iter().position(|known| *known == alternative) {
            let kind = ErrorKind::Duplicate {
                what: "alternative".to_owned(),
                first: path.item(first).to_string(),
            };
            errors.push(&item_path, kind);
        }
        alternatives.push(alternative);
    }
    Ok(alternatives)
}

fn alternative(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Alternative, Invalid> {
    let fields = Fields::read(json, path, &ALTERNATIVE, errors)?;
    let model = fields.read_optional("model", path, errors, model);
    let headers = fields.read_or("headers", path, errors, Vec::new, headers);
    if fields.get("model").is_none() && fields.get("headers").is_none() {
        errors.push(path, ErrorKind::Empty);
    }
    Ok(Alternative {
        model: model?,
        headers: headers?,
    })
}

/// Reads the name of a model. Responses have it in a header.
fn model(json: &Json, path: &Path<'_>, errors: &mut ValidationErrors) -> Result<String, Invalid> {
    let model = reader::text(json, bounds::NAME_BYTES, path, errors)?;
    if !model.bytes().all(|byte| byte.is_ascii_graphic()) {
        let kind = ErrorKind::Malformed("invalid model name, expected visible ASCII");
        return Err(errors.push(path, kind));
    }
    Ok(model.to_owned())
}

fn headers(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Vec<(String, String)>, Invalid> {
    if matches!(json, Json::Object(entries) if entries.is_empty()) {
        errors.push(path, ErrorKind::Empty);
    }
    values::headers(json, bounds::ALTERNATIVE_HEADERS, reserved, path, errors)
}

/// Returns the message on the name of a header that cannot be changed.
fn reserved(name: &str) -> Option<&'static str> {
    FRAMING.contains(&name).then_some(
        "reserved header name, expected one that does not describe the message or its connection",
    )
}
