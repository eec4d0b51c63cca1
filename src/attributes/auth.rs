//! Where `auth` comes from: the first of the configured sources that has a value.

use super::{AttributeError, Attributes, Value, body, string};
use crate::host::{Headers, Host};
use cel::common::types::{CelMap, CelMapKey};
use filter_config::AuthSource;
use std::collections::HashMap;

impl Attributes {
    /// The value of `auth`.
    pub(super) fn resolve_auth(
        &mut self,
        host: &dyn Host,
        sources: &[AuthSource],
    ) -> Result<Option<Value>, AttributeError> {
        for source in sources {
            let value = match source {
                AuthSource::Metadata(namespace) => self.metadata(host)?.namespace(namespace)?,
                AuthSource::FilterState(key) => filter_state(host, key)?.and_then(|bytes| {
                    let json: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
                    json.is_object().then(|| body::value(json))
                }),
                AuthSource::Header(paths) => from_headers(self.headers(), paths),
            };
            if value.is_some() {
                return Ok(value);
            }
        }
        Ok(None)
    }
}

/// The filter state of a key: as it is given, else as another Proxy-Wasm filter set it, which Envoy
/// keeps below `wasm.`.
pub(super) fn filter_state(host: &dyn Host, key: &str) -> Result<Option<Vec<u8>>, AttributeError> {
    let failed = |error| AttributeError::Property("filter_state", error);
    if let Some(value) = host.property(&["filter_state", key]).map_err(failed)? {
        return Ok(Some(value));
    }
    let key = format!("wasm.{key}");
    host.property(&["filter_state", &key]).map_err(failed)
}

/// A nested map in which each path has the value of its header; `None` when no header is there.
fn from_headers(headers: &Headers, paths: &[(Vec<String>, String)]) -> Option<Value> {
    let mut root = Node::default();
    for (path, header) in paths {
        if let Some(value) = headers.text(header) {
            root.insert(path, string(value));
        }
    }
    (!root.children.is_empty()).then(|| root.into_value())
}

/// A map under construction.
#[derive(Default)]
struct Node {
    leaf: Option<Value>,
    children: HashMap<String, Node>,
}

impl Node {
    fn insert(&mut self, path: &[String], leaf: Value) {
        match path.split_first() {
            None => self.leaf = Some(leaf),
            Some((first, rest)) => {
                let child = self.children.entry(first.clone()).or_default();
                child.insert(rest, leaf);
            }
        }
    }

    fn into_value(self) -> Value {
        if let Some(leaf) = self.leaf {
            return leaf;
        }
        let entries = self
            .children
            .into_iter()
            .map(|(name, child)| (CelMapKey::from(name), child.into_value()));
        Box::new(CelMap::from(HashMap::from_iter(entries)))
    }
}
