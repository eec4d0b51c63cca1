//! Where `auth` comes from: the first of the configured sources that has a value.

use super::object::Object;
use super::{AttributeError, Attributes, Value, body, string, text};
use crate::host::{Headers, Host};
use filter_config::{Attribute, AuthSource};

/// What is known of `auth`.
#[derive(Debug, Default)]
pub(super) struct Auth {
    /// Whether the value is all there is, rather than the leaves that were asked for.
    whole: bool,
    value: Option<Value>,
    /// The paths that were looked up, where a source has leaves only, and what is there.
    leaves: Vec<(String, Option<Value>)>,
}

impl Auth {
    pub(super) fn value(&self) -> Option<&Value> {
        self.value.as_ref()
    }
}

impl Attributes {
    /// Takes from the first source that has a value what an expression reads of `auth`.
    pub(super) fn resolve_auth(
        &mut self,
        host: &dyn Host,
        sources: &[AuthSource],
        uses: &[Attribute],
    ) -> Result<(), AttributeError> {
        let paths = uses.iter().filter_map(|attribute| match attribute {
            Attribute::Auth(path) => Some(path.as_str()),
            _ => None,
        });
        let leaves = &self.auth.leaves;
        let is_known = |path: &str| match path {
            "" => !leaves.is_empty(),
            path => leaves.iter().any(|(known, _)| known == path),
        };
        if self.auth.whole || paths.clone().all(is_known) {
            return Ok(());
        }
        for source in sources {
            let value = match source {
                AuthSource::Metadata(namespace) => self.metadata(host)?.namespace(namespace)?,
                AuthSource::Header(paths) => from_headers(self.headers(), paths),
                AuthSource::FilterState(key) => {
                    let whole = filter_state(host, key)?.map(|bytes| leaf(&bytes));
                    if whole.is_none() && self.add_leaves(host, key, paths.clone())? {
                        return Ok(());
                    }
                    whole
                }
            };
            if value.is_some() {
                self.auth.whole = true;
                self.auth.value = value;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes from filter state that has leaves only those that an expression reads, and makes
    /// `auth` of all that are known. Returns whether there are any.
    fn add_leaves<'a>(
        &mut self,
        host: &dyn Host,
        key: &str,
        paths: impl Iterator<Item = &'a str>,
    ) -> Result<bool, AttributeError> {
        for path in paths.filter(|path| !path.is_empty()) {
            let leaf = filter_state(host, &format!("{key}.{path}"))?.map(|bytes| leaf(&bytes));
            self.auth.leaves.push((path.to_owned(), leaf));
        }
        let mut root = Node::default();
        for (path, leaf) in &self.auth.leaves {
            if let Some(leaf) = leaf {
                root.insert(&mut path.split('.'), leaf.clone());
            }
        }
        let found = !root.children.is_empty();
        self.auth.value = found.then(|| root.into_value());
        Ok(found)
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
            root.insert(&mut path.iter().map(String::as_str), string(value));
        }
    }
    (!root.children.is_empty()).then(|| root.into_value())
}

/// A map under construction.
#[derive(Default)]
struct Node {
    leaf: Option<Value>,
    children: Vec<(String, Node)>,
}

impl Node {
    fn insert(&mut self, path: &mut dyn Iterator<Item = &str>, leaf: Value) {
        let Some(first) = path.next() else {
            self.leaf = Some(leaf);
            return;
        };
        let known = self.children.iter_mut().find(|(name, _)| name == first);
        if let Some((_, child)) = known {
            child.insert(path, leaf);
        } else {
            let mut child = Self::default();
            child.insert(path, leaf);
            self.children.push((first.to_owned(), child));
        }
    }

    fn into_value(self) -> Value {
        self.leaf.unwrap_or_else(|| {
            let children = self.children.into_iter();
            Object::value(children.map(|(name, child)| (name, child.into_value())))
        })
    }
}

/// The value of a leaf of filter state: JSON where it is, as other filters write it, else a string.
fn leaf(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).map_or_else(|_| string(text(bytes)), body::value)
}
