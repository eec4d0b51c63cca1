//! Where `auth` comes from.

use crate::bounds;
use crate::fault::{FaultKind, Faults};
use crate::fields::{self, Fields, Schema};
use crate::json::Json;
use crate::path::Path;

/// A source of the variable `auth`. Of several, the first that has a value wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthSource {
    /// Dynamic metadata: the namespace of `filter_metadata` whose Struct becomes `auth`.
    Metadata(String),
    /// Filter state: the key whose value, a JSON object, becomes `auth`.
    FilterState(String),
    /// Request headers: the path below `auth` and the lower-case name of the header whose value is
    /// there. No path is the beginning of another. Only for use behind a proxy that strips these
    /// headers from what clients send.
    Header(Vec<(Vec<String>, String)>),
}

pub(crate) const SCHEMA: Schema = Schema {
    known: &["metadata", "filterState", "header"],
    ignored: &[],
};

/// The sources where the configuration names none: those that only trusted filters write.
pub(crate) fn defaults() -> Vec<AuthSource> {
    vec![
        AuthSource::Metadata("envoy.filters.http.ext_authz".to_owned()),
        AuthSource::Metadata("envoy.filters.http.jwt_authn".to_owned()),
        AuthSource::FilterState("kuadrant.auth".to_owned()),
    ]
}

/// Reads the list of sources.
pub(crate) fn read(json: &Json, list: &Path<'_>, faults: &mut Faults) -> Option<Vec<AuthSource>> {
    let items = fields::list(json, "sources", bounds::AUTH_SOURCES, list, faults)?;
    if items.is_empty() {
        faults.push(list, FaultKind::MustNotBeEmpty);
    }
    let mut sources = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let path = list.item(position);
        let Some(source) = source(item, &path, faults) else {
            continue;
        };
        if let Some(first) = sources.iter().position(|known| *known == source) {
            let kind = FaultKind::Repeated {
                value: "the same source".to_owned(),
                first: list.item(first).to_string(),
            };
            faults.push(&path, kind);
        }
        sources.push(source);
    }
    Some(sources)
}

fn source(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<AuthSource> {
    let fields = Fields::read(json, path, &SCHEMA, faults)?;
    match (
        fields.get("metadata"),
        fields.get("filterState"),
        fields.get("header"),
    ) {
        (Some(namespace), None, None) => {
            let path = path.field("metadata");
            fields::name(namespace, bounds::NAME_BYTES, &path, faults).map(AuthSource::Metadata)
        }
        (None, Some(key), None) => {
            let path = path.field("filterState");
            fields::name(key, bounds::NAME_BYTES, &path, faults).map(AuthSource::FilterState)
        }
        (None, None, Some(headers)) => {
            header(headers, &path.field("header"), faults).map(AuthSource::Header)
        }
        _ => {
            let wanted = "exactly one of \"metadata\", \"filterState\" and \"header\"";
            fields::expected(json, wanted, path, faults);
            None
        }
    }
}

fn header(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Vec<(Vec<String>, String)>> {
    let entries = fields::entries(json, path, faults)?;
    if entries.is_empty() {
        faults.push(path, FaultKind::MustNotBeEmpty);
        return None;
    }
    if !fields::at_most(entries.len(), "headers", bounds::AUTH_HEADERS, path, faults) {
        return None;
    }
    let mut claims: Vec<(Vec<String>, String)> = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let path = path.field(key);
        let claim = claim_path(key, &path, faults);
        let header = header_name(value, &path, faults);
        let (Some(claim), Some(header)) = (claim, header) else {
            continue;
        };
        let clash = claims
            .iter()
            .find(|(known, _)| known.starts_with(&claim) || claim.starts_with(known));
        if let Some((known, _)) = clash {
            let kind = FaultKind::Expected {
                expected: format!("a path apart from {:?}", known.join(".")),
                found: format!("{key:?}"),
            };
            faults.push(&path, kind);
        }
        claims.push((claim, header));
    }
    Some(claims)
}

/// The segments of a path below `auth`, such as `identity.userid`.
fn claim_path(key: &str, path: &Path<'_>, faults: &mut Faults) -> Option<Vec<String>> {
    if !fields::at_most(key.len(), "bytes", bounds::NAME_BYTES, path, faults) {
        return None;
    }
    let segments: Vec<String> = key.split('.').map(str::to_owned).collect();
    let most = bounds::AUTH_PATH_SEGMENTS;
    if !fields::at_most(segments.len(), "segments", most, path, faults) {
        return None;
    }
    let is_word = |segment: &String| {
        !segment.is_empty()
            && segment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    if !segments.iter().all(is_word) {
        let kind = FaultKind::Malformed("expected a path below auth, such as \"identity.userid\"");
        faults.push(path, kind);
        return None;
    }
    Some(segments)
}

/// The name of a header: a token of RFC 9110, in lower case as Envoy has it.
fn header_name(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<String> {
    let name = fields::text(json, bounds::HEADER_NAME_BYTES, path, faults)?;
    if !is_header_name(name) {
        faults.push(path, FaultKind::Malformed("not the name of a header"));
        return None;
    }
    Some(name.to_ascii_lowercase())
}

/// Whether a text is a token of RFC 9110, as names of headers are.
pub(crate) fn is_header_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}
