//! `auth`: the sources of the variable of that name.

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::fields::{Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::reader::{self, unexpected};
use crate::values;

/// A source of the variable `auth`. Of several, the first that has a value is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthSource {
    /// Dynamic metadata: the namespace of `filter_metadata` whose Struct becomes `auth`.
    Metadata(String),
    /// Filter state: the key whose value, a JSON object, becomes `auth`.
    FilterState(String),
    /// Request headers: paths below `auth`, each with the lower-case name of the header that has its value. No path
    /// is a prefix of another. Only safe behind a proxy that removes these headers from what clients send.
    Header(Vec<(Vec<String>, String)>),
}

pub(crate) const SCHEMA: Schema = Schema {
    known: &["metadata", "filterState", "header"],
    ignored: &[],
};

/// Returns the default sources: those that only trusted filters write.
pub(crate) fn defaults() -> Vec<AuthSource> {
    vec![
        AuthSource::Metadata("envoy.filters.http.ext_authz".to_owned()),
        AuthSource::Metadata("envoy.filters.http.jwt_authn".to_owned()),
        AuthSource::FilterState("kuadrant.auth".to_owned()),
    ]
}

/// Reads the list of sources.
pub(crate) fn read(
    json: &Json,
    list: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Vec<AuthSource>, Invalid> {
    let items = reader::list(json, "sources", bounds::AUTH_SOURCES, list, errors)?;
    if items.is_empty() {
        errors.push(list, ErrorKind::Empty);
    }
    let mut sources = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let path = list.item(position);
        let Ok(source) = source(item, &path, errors) else {
            continue;
        };
        if let Some(first) = sources.iter().position(|known| *known == source) {
            let kind = ErrorKind::Duplicate {
                what: "source".to_owned(),
                first: list.item(first).to_string(),
            };
            errors.push(&path, kind);
        }
        sources.push(source);
    }
    Ok(sources)
}

fn source(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<AuthSource, Invalid> {
    let fields = Fields::read(json, path, &SCHEMA, errors)?;
    match (
        fields.get("metadata"),
        fields.get("filterState"),
        fields.get("header"),
    ) {
        (Some(namespace), None, None) => {
            let path = path.field("metadata");
            reader::name(namespace, bounds::NAME_BYTES, &path, errors).map(AuthSource::Metadata)
        }
        (None, Some(key), None) => {
            let path = path.field("filterState");
            reader::name(key, bounds::NAME_BYTES, &path, errors).map(AuthSource::FilterState)
        }
        (None, None, Some(headers)) => {
            header(headers, &path.field("header"), errors).map(AuthSource::Header)
        }
        _ => {
            let expected = "exactly one of \"metadata\", \"filterState\" and \"header\"";
            Err(unexpected(json, expected, path, errors))
        }
    }
}

fn header(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Vec<(Vec<String>, String)>, Invalid> {
    let entries = reader::entries(json, path, errors)?;
    if entries.is_empty() {
        return Err(errors.push(path, ErrorKind::Empty));
    }
    reader::at_most(entries.len(), "headers", bounds::AUTH_HEADERS, path, errors)?;
    let mut claims: Vec<(Vec<String>, String)> = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let path = path.field(key);
        let claim = claim_path(key, &path, errors);
        let header = reader::text(value, bounds::HEADER_NAME_BYTES, &path, errors)
            .and_then(|name| values::header_name(name, &path, errors));
        let (Ok(claim), Ok(header)) = (claim, header) else {
            continue;
        };
        let overlapping = claims
            .iter()
            .find(|(known, _)| known.starts_with(&claim) || claim.starts_with(known));
        if let Some((known, _)) = overlapping {
            let kind = ErrorKind::Unexpected {
                found: format!("{key:?}"),
                expected: format!("a path that does not overlap with {:?}", known.join(".")),
            };
            errors.push(&path, kind);
        }
        claims.push((claim, header));
    }
    Ok(claims)
}

/// Returns the segments of a path below `auth`, such as `identity.userid`.
fn claim_path(
    key: &str,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Vec<String>, Invalid> {
    reader::at_most(key.len(), "bytes", bounds::NAME_BYTES, path, errors)?;
    let segments: Vec<String> = key.split('.').map(str::to_owned).collect();
    let max = bounds::AUTH_PATH_SEGMENTS;
    reader::at_most(segments.len(), "segments", max, path, errors)?;
    let is_word = |segment: &String| {
        !segment.is_empty()
            && segment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    if !segments.iter().all(is_word) {
        let message = "invalid path, expected one below \"auth\" such as \"identity.userid\"";
        return Err(errors.push(path, ErrorKind::Malformed(message)));
    }
    Ok(segments)
}
