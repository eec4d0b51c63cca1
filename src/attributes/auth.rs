//! The variable `auth`: the first of the configured sources that has a value.

use super::error::AttributeError;
use super::metadata::DynamicMetadata;
use super::value::{Value, from_json, string, text};
use super::{filter_state, object};
use crate::host::{Headers, Host};
use filter_config::{Attribute, AuthSource};

/// What is resolved of `auth`.
#[derive(Debug, Default)]
pub(super) struct Auth {
    /// Whether the value is complete, rather than made of the leaves that expressions read so far.
    is_complete: bool,
    value: Option<Value>,
    /// The paths that were resolved in a source that has leaves only, with their values.
    leaves: Vec<(String, Option<Value>)>,
}

// === impl Auth ===

impl Auth {
    pub(super) fn value(&self) -> Option<&Value> {
        self.value.as_ref()
    }

    /// Resolves what an expression reads of `auth`, from the first source that has a value.
    ///
    /// # Errors
    /// [`AttributeError`] when Envoy fails.
    pub(super) fn resolve(
        &mut self,
        host: &dyn Host,
        sources: &[AuthSource],
        uses: &[Attribute],
        headers: &Headers,
        metadata: &mut DynamicMetadata,
    ) -> Result<(), AttributeError> {
        let paths = uses.iter().filter_map(|attribute| match attribute {
            Attribute::Auth(path) => Some(path.as_str()),
            _ => None,
        });
        let is_known = |path: &str| match path {
            "" => !self.leaves.is_empty(),
            path => self.leaves.iter().any(|(known, _)| known == path),
        };
        if self.is_complete || paths.clone().all(is_known) {
            return Ok(());
        }
        for source in sources {
            let value = match source {
                AuthSource::Metadata(namespace) => metadata.get(host)?.namespace(namespace)?,
                AuthSource::Header(paths) => from_headers(headers, paths),
                AuthSource::FilterState(key) => {
                    let whole = filter_state::read(host, key)?.map(|bytes| leaf(&bytes));
                    if whole.is_none() && self.add_leaves(host, key, paths.clone())? {
                        return Ok(());
                    }
                    whole
                }
            };
            if value.is_some() {
                self.is_complete = true;
                self.value = value;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Resolves the leaves of filter state that an expression reads, and makes the value of all that
    /// are known. Returns whether there are any.
    fn add_leaves<'a>(
        &mut self,
        host: &dyn Host,
        key: &str,
        paths: impl Iterator<Item = &'a str>,
    ) -> Result<bool, AttributeError> {
        for path in paths.filter(|path| !path.is_empty()) {
            let bytes = filter_state::read(host, &format!("{key}.{path}"))?;
            let leaf = bytes.map(|bytes| leaf(&bytes));
            self.leaves.push((path.to_owned(), leaf));
        }
        let mut root = Node::default();
        for (path, leaf) in &self.leaves {
            if let Some(leaf) = leaf {
                root.insert(&mut path.split('.'), leaf.clone());
            }
        }
        let is_found = !root.children.is_empty();
        self.value = is_found.then(|| root.into_value());
        Ok(is_found)
    }
}

/// Returns a nested map in which each path has the value of its header; `None` when no header is
/// present.
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

// === impl Node ===

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
            object::value(children.map(|(name, child)| (name, child.into_value())))
        })
    }
}

/// Returns the value of a leaf of filter state: JSON, which other filters write, else a string.
fn leaf(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).map_or_else(|_| string(text(bytes)), from_json)
}
