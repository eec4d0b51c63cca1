//! What becomes of a request that a limit has no room for: `onExceeded`.

use crate::auth;
use crate::bounds;
use crate::fault::{FaultKind, Faults};
use crate::fields::{self, Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::window;

/// What becomes of a request that a limit has no room for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Exceeded {
    /// It is refused.
    #[default]
    Deny,
    /// It goes on all the same, and that is told.
    Allow,
    /// It waits for room, in order of arrival.
    Queue(Queue),
    /// It is changed in the first of these ways in which there is room for it; where there is none, it
    /// is refused. At least one, at most [`bounds::ALTERNATIVES`].
    Alternatives(Vec<Alternative>),
}

/// How requests wait for room at a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The most requests that wait at one counter, within [`bounds::QUEUE_DEPTH`].
    pub depth: usize,
    /// For how many nanoseconds one waits at most, within [`bounds::QUEUE_TIMEOUT_NANOS`].
    pub timeout: u64,
}

/// A change to a request, of its model, of its headers or of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// The model that is asked instead, of visible ASCII.
    pub model: Option<String>,
    /// Headers that are set, replacing those of the request: names in lower case, values of printable
    /// ASCII. At most [`bounds::ALTERNATIVE_HEADERS`], no two of the same name.
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

/// Headers that say where a message ends, what its body is or how its connection is used: one that
/// does not fit the message would break it.
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
pub(crate) fn read(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Exceeded> {
    let wanted =
        "\"deny\", \"allow\", or an object with exactly one of \"queue\" and \"alternatives\"";
    match json {
        Json::String(word) if word == "deny" => return Some(Exceeded::Deny),
        Json::String(word) if word == "allow" => return Some(Exceeded::Allow),
        Json::Object(_) => {}
        _ => {
            fields::expected(json, wanted, path, faults);
            return None;
        }
    }
    let fields = Fields::read(json, path, &EXCEEDED, faults)?;
    match (fields.get("queue"), fields.get("alternatives")) {
        (Some(json), None) => queue(json, &path.field("queue"), faults).map(Exceeded::Queue),
        (None, Some(json)) => {
            alternatives(json, &path.field("alternatives"), faults).map(Exceeded::Alternatives)
        }
        _ => {
            fields::expected(json, wanted, path, faults);
            None
        }
    }
}

fn queue(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Queue> {
    let fields = Fields::read(json, path, &QUEUE, faults)?;
    let depth = fields.require("depth", path, faults).and_then(|json| {
        let depth = fields::whole(json, &bounds::QUEUE_DEPTH, &path.field("depth"), faults);
        usize::try_from(depth?).ok()
    });
    let timeout = fields
        .require("timeout", path, faults)
        .and_then(|json| timeout(json, &path.field("timeout"), faults));
    Some(Queue {
        depth: depth?,
        timeout: timeout?,
    })
}

fn timeout(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<u64> {
    const EXPECTED: &str = "a duration from \"10ms\" to \"10m\"";
    let within = &bounds::QUEUE_TIMEOUT_NANOS;
    window::nanos(json, within, EXPECTED, |text| text, path, faults)
}

fn alternatives(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Vec<Alternative>> {
    let items = fields::list(json, "alternatives", bounds::ALTERNATIVES, path, faults)?;
    if items.is_empty() {
        faults.push(path, FaultKind::MustNotBeEmpty);
    }
    let mut alternatives = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let item_path = path.item(position);
        let Some(alternative) = alternative(item, &item_path, faults) else {
            continue;
        };
        if let Some(first) = alternatives.iter().position(|known| *known == alternative) {
            let kind = FaultKind::Repeated {
                value: "the same alternative".to_owned(),
                first: path.item(first).to_string(),
            };
            faults.push(&item_path, kind);
        }
        alternatives.push(alternative);
    }
    Some(alternatives)
}

fn alternative(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Alternative> {
    let fields = Fields::read(json, path, &ALTERNATIVE, faults)?;
    let model = fields.read_optional("model", path, faults, model);
    let headers = fields.read_or("headers", path, faults, Vec::new, headers);
    if fields.get("model").is_none() && fields.get("headers").is_none() {
        faults.push(path, FaultKind::MustNotBeEmpty);
    }
    Some(Alternative {
        model: model?,
        headers: headers?,
    })
}

/// The name of a model. A response tells of it in a header.
fn model(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<String> {
    let model = fields::text(json, bounds::NAME_BYTES, path, faults)?;
    if !model.bytes().all(|byte| byte.is_ascii_graphic()) {
        let kind = FaultKind::Malformed("the name of a model must be visible ASCII");
        faults.push(path, kind);
        return None;
    }
    Some(model.to_owned())
}

fn headers(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Vec<(String, String)>> {
    let entries = fields::entries(json, path, faults)?;
    if entries.is_empty() {
        faults.push(path, FaultKind::MustNotBeEmpty);
    }
    let most = bounds::ALTERNATIVE_HEADERS;
    if !fields::at_most(entries.len(), "headers", most, path, faults) {
        return None;
    }
    let mut headers: Vec<(String, String)> = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        let path = path.field(name);
        let name = header_name(name, &path, faults);
        let value = header_value(value, &path, faults);
        let (Some(name), Some(value)) = (name, value) else {
            continue;
        };
        if headers.iter().any(|(known, _)| *known == name) {
            faults.push(&path, FaultKind::DuplicateKey);
        }
        headers.push((name, value));
    }
    Some(headers)
}

fn header_name(name: &str, path: &Path<'_>, faults: &mut Faults) -> Option<String> {
    let most = bounds::HEADER_NAME_BYTES;
    if !fields::at_most(name.len(), "bytes", most, path, faults) {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    let kind = if !auth::is_header_name(name) {
        FaultKind::Malformed("not the name of a header")
    } else if FRAMING.contains(&lower.as_str()) {
        FaultKind::Malformed("a header that an alternative cannot set")
    } else {
        return Some(lower);
    };
    faults.push(path, kind);
    None
}

fn header_value(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<String> {
    let value = fields::text(json, bounds::HEADER_VALUE_BYTES, path, faults)?;
    let is_printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    if !value.bytes().all(is_printable) {
        let kind = FaultKind::Malformed("a header value must be printable ASCII");
        faults.push(path, kind);
        return None;
    }
    Some(value.to_owned())
}
