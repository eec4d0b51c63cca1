//! Where the object `auth` of a request is put: where the configuration reads it.

use std::collections::HashMap;

use filter_config::AuthSource;
use serde_json::{Map, Value, json};

use super::metadata;

/// The configuration reads no part of an `auth` object.
#[derive(Debug, thiserror::Error)]
#[error("auth: found {found}, expected {expected}, which the configuration reads as `auth`")]
pub struct Unplaced {
    found: String,
    expected: String,
}

/// Puts `auth` into the metadata, the headers or the filter state that the first source reads that can have it.
pub(super) fn place(
    sources: &[AuthSource],
    auth: &Value,
    others: &Map<String, Value>,
    headers: &mut Vec<(String, String)>,
    properties: &mut HashMap<Vec<String>, Vec<u8>>,
) -> Result<(), Unplaced> {
    let mut all = others.clone();
    let placed = sources.iter().any(|source| match source {
        AuthSource::Metadata {
            namespace,
            keys,
            becomes,
        } => {
            let Some(part @ Value::Object(_)) = at(auth, becomes) else {
                return false;
            };
            let mut value = part.clone();
            for key in keys.iter().rev() {
                value = json!({ key: value });
            }
            all.insert(namespace.clone(), value);
            true
        }
        AuthSource::Header(claims) => {
            let mut found = false;
            for (claim, name) in claims {
                if let Some(value) = at(auth, claim) {
                    let text = value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned);
                    headers.retain(|(known, _)| known != name);
                    headers.push((name.clone(), text));
                    found = true;
                }
            }
            found
        }
        AuthSource::FilterState(key) => {
            let path = vec!["filter_state".to_owned(), key.clone()];
            properties.insert(path, auth.to_string().into_bytes());
            true
        }
    });
    if !all.is_empty() {
        properties.insert(vec!["metadata".to_owned()], metadata::message(&all));
    }
    let is_empty = auth.as_object().is_some_and(Map::is_empty) || auth.is_null();
    if placed || is_empty {
        return Ok(());
    }
    let mut found = auth.to_string();
    if let Some((end, _)) = found.char_indices().nth(80) {
        found.truncate(end);
    }
    Err(Unplaced {
        found,
        expected: expected(sources),
    })
}

/// Returns the value at a path.
fn at<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

fn expected(sources: &[AuthSource]) -> String {
    let sources = sources.iter().map(|source| match source {
        AuthSource::Metadata { becomes, .. } if becomes.is_empty() => "an object".to_owned(),
        AuthSource::Metadata { becomes, .. } => format!("an object with {:?}", becomes.join(".")),
        AuthSource::Header(claims) => {
            let claims = claims
                .iter()
                .map(|(claim, _)| format!("{:?}", claim.join(".")));
            format!("one of {}", claims.collect::<Vec<_>>().join(", "))
        }
        AuthSource::FilterState(_) => "any JSON".to_owned(),
    });
    sources.collect::<Vec<_>>().join(" or ")
}
