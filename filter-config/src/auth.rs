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
    /// Dynamic metadata: a Struct in it becomes `auth`, or part of it.
    Metadata {
        /// The namespace of `filter_metadata`.
        namespace: String,
        /// The keys that lead from the namespace to the Struct, each within the one before it; none for all of it.
        keys: Vec<String>,
        /// The path below `auth` that the Struct becomes; empty for `auth` itself.
        becomes: Vec<String>,
    },
    /// Filter state: the key whose value, a JSON object, becomes `auth`.
    FilterState(String),
    /// Request headers: paths below `auth`, each with the lower-case name of the header that has its value. No path
    /// is a prefix of another. Only safe behind a proxy that removes these headers from what clients send.
    Header(Vec<(Vec<String>, String)>),
}

pub(crate) const SCHEMA: Schema = Schema {
    known: &["metadata", "key", "as", "filterState", "header"],
    ignored: &[],
};

// === impl AuthSource ===

impl AuthSource {
    /// Returns the source that is all of a namespace of the dynamic metadata.
    #[must_use]
    pub fn metadata(namespace: &str) -> Self {
        Self::Metadata {
            namespace: namespace.to_owned(),
            keys: Vec::new(),
            becomes: Vec::new(),
        }
    }
}

/// Returns the default sources: those that only trusted filters write.
pub(crate) fn defaults() -> Vec<AuthSource> {
    vec![
        AuthSource::metadata("envoy.filters.http.ext_authz"),
        AuthSource::metadata("envoy.filters.http.jwt_authn"),
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
    if fields.get("metadata").is_none() {
        for name in ["key", "as"] {
            if fields.get(name).is_some() {
                errors.push(&path.field(name), ErrorKind::OnlyOfMetadata);
            }
        }
    }
    match (
        fields.get("metadata"),
        fields.get("filterState"),
        fields.get("header"),
    ) {
        (Some(_), None, None) => metadata(fields, path, errors),
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

fn metadata(
    fields: Fields<'_>,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<AuthSource, Invalid> {
    let namespace = fields.require("metadata", path, errors, |json, path, errors| {
        reader::name(json, bounds::NAME_BYTES, path, errors)
    });
    let keys = fields.read_or("key", path, errors, Vec::new, keys);
    let becomes = fields.read_or("as", path, errors, Vec::new, |json, path, errors| {
        let text = reader::text(json, bounds::NAME_BYTES, path, errors)?;
        claim_path(text, path, errors)
    });
    Ok(AuthSource::Metadata {
        namespace: namespace?,
        keys: keys?,
        becomes: becomes?,
    })
}

/// Reads `key`: a key, or a list of keys, each within the one before it. A key can be an issuer's URL.
fn keys(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Vec<String>, Invalid> {
    let Json::Array(items) = json else {
        let key = reader::text(json, bounds::NAME_BYTES, path, errors)?;
        return Ok(vec![key.to_owned()]);
    };
    let max = bounds::AUTH_PATH_SEGMENTS;
    reader::at_most(items.len(), "keys", max, path, errors)?;
    if items.is_empty() {
        return Err(errors.push(path, ErrorKind::Empty));
    }
    let mut keys = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let key = reader::text(item, bounds::NAME_BYTES, &path.item(position), errors)?;
        keys.push(key.to_owned());
    }
    Ok(keys)
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
