//! The variable `auth`: the first of the configured sources that has a value.

use super::error::AttributeError;
use super::metadata::DynamicMetadata;
use super::value::{Value, borrowed, from_json, string, text};
use super::{filter_state, object};
use crate::host::{Headers, Host};
use cel::common::types::CelString;
use cel::common::value::CowVal;
use filter_config::{Attribute, AuthSource};
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

/// What is resolved of `auth`.
#[derive(Debug, Default)]
pub(super) enum Auth {
    /// It was not read yet.
    #[default]
    Unknown,
    /// No source has a value.
    Absent,
    /// The source at this position names headers. They are read where they are, and copied into a map only if an
    /// expression reads more than one claim at once, or one that is absent.
    Headers(Arc<[AuthSource]>, usize, OnceLock<Option<Value>>),
    /// The value of a source that has all of it.
    Whole(Value),
    /// What is known of a source that has leaves only.
    Leaves {
        value: Option<Value>,
        /// The paths that were resolved, with their values.
        leaves: Vec<(String, Option<Value>)>,
    },
}

/// The claims of a source, each with the header that has it.
type Claims = [(Vec<String>, String)];

// === impl Auth ===

impl Auth {
    /// Returns the value at a path, names joined with dots; empty for `auth` itself. `None` also where a value
    /// on the path is no map of few fields.
    pub(super) fn value<'a>(&'a self, headers: &Headers, path: &str) -> Option<CowVal<'a, 'a>> {
        match self {
            Self::Headers(.., whole) => {
                let mut claims = self.claims().iter();
                let claim = claims.find(|(claim, _)| below(claim, path) == Some(&[]));
                if let Some((_, header)) = claim
                    && let Some(text) = headers.text(header)
                {
                    return Some(CowVal::Owned(string(text)));
                }
                let whole = whole.get_or_init(|| in_headers(self.claims(), headers));
                borrowed(object::at(whole.as_ref()?, path))
            }
            Self::Whole(value)
            | Self::Leaves {
                value: Some(value), ..
            } => borrowed(object::at(value, path)),
            Self::Unknown | Self::Absent | Self::Leaves { value: None, .. } => None,
        }
    }

    /// Returns the string at a path; `None` where there is none.
    pub(super) fn text<'a>(&'a self, headers: &'a Headers, path: &str) -> Option<Cow<'a, str>> {
        match self {
            Self::Headers(..) => {
                let mut claims = self.claims().iter();
                let (_, header) = claims.find(|(claim, _)| below(claim, path) == Some(&[]))?;
                headers.text(header)
            }
            Self::Whole(value)
            | Self::Leaves {
                value: Some(value), ..
            } => {
                let value = object::at(value, path)?.downcast_ref::<CelString>()?;
                Some(Cow::Borrowed(value.inner()))
            }
            Self::Unknown | Self::Absent | Self::Leaves { value: None, .. } => None,
        }
    }

    /// Releases the map of claims in headers, which is made again when an expression reads it.
    pub(super) fn shrink(&mut self) {
        if let Self::Headers(.., whole) = self {
            *whole = OnceLock::new();
        }
    }

    /// Returns whether the value is read from the request's headers.
    pub(super) const fn is_in_headers(&self) -> bool {
        matches!(self, Self::Headers(..))
    }

    fn claims(&self) -> &Claims {
        match self {
            Self::Headers(sources, source, _) => match sources.get(*source) {
                Some(AuthSource::Header(claims)) => claims,
                _ => &[],
            },
            _ => &[],
        }
    }

    /// Returns whether what an expression reads is resolved.
    fn has_all<'a>(&self, mut paths: impl Iterator<Item = &'a str>) -> bool {
        match self {
            Self::Headers(..) | Self::Whole(_) | Self::Absent => true,
            Self::Unknown => paths.next().is_none(),
            Self::Leaves { leaves, .. } => paths.all(|path| match path {
                "" => !leaves.is_empty(),
                path => leaves.iter().any(|(known, _)| known == path),
            }),
        }
    }

    /// Resolves what an expression reads of `auth`, from the first source that has a value.
    ///
    /// # Errors
    /// [`AttributeError`] when Envoy fails.
    pub(super) fn resolve(
        &mut self,
        host: &dyn Host,
        sources: &Arc<[AuthSource]>,
        uses: &[Attribute],
        headers: &Headers,
        metadata: &mut DynamicMetadata,
    ) -> Result<(), AttributeError> {
        let paths = uses.iter().filter_map(|attribute| match attribute {
            Attribute::Auth(path) => Some(path.as_str()),
            _ => None,
        });
        if self.has_all(paths.clone()) {
            return Ok(());
        }
        for (index, source) in sources.iter().enumerate() {
            let value = match source {
                AuthSource::Metadata {
                    namespace,
                    keys,
                    becomes,
                } => {
                    let value = metadata.get(host)?.at(namespace, keys)?;
                    value.map(|value| at_path(becomes, value))
                }
                AuthSource::Header(claims) => {
                    if claims.iter().any(|(_, name)| headers.get(name).is_some()) {
                        *self = Self::Headers(Arc::clone(sources), index, OnceLock::new());
                        return Ok(());
                    }
                    None
                }
                AuthSource::FilterState(key) => {
                    let whole = filter_state::read(host, key)?;
                    if whole.is_none() && self.add_leaves(host, key, paths.clone())? {
                        return Ok(());
                    }
                    whole.map(|bytes| leaf(&bytes))
                }
            };
            if let Some(value) = value {
                *self = Self::Whole(value);
                return Ok(());
            }
        }
        if let Self::Unknown = self {
            *self = Self::Absent;
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
        let mut leaves = match self {
            Self::Leaves { leaves, .. } => std::mem::take(leaves),
            _ => Vec::new(),
        };
        for path in paths.filter(|path| !path.is_empty()) {
            let bytes = filter_state::read(host, &format!("{key}.{path}"))?;
            leaves.push((path.to_owned(), bytes.map(|bytes| leaf(&bytes))));
        }
        let mut root = Node::default();
        for (path, leaf) in &leaves {
            if let Some(leaf) = leaf {
                root.insert(&mut path.split('.'), leaf.clone());
            }
        }
        let is_found = !root.children.is_empty();
        let value = is_found.then(|| root.into_value());
        *self = Self::Leaves { value, leaves };
        Ok(is_found)
    }
}

/// Returns the map in which a value is at this path; the value itself for the empty path.
fn at_path(path: &[String], value: Value) -> Value {
    let names = path.iter().rev();
    names.fold(value, |value, name| {
        object::value([(name.clone(), value)].into_iter())
    })
}

/// Returns what follows a path in the path of a claim; `None` if the claim is not below it.
fn below<'a>(claim: &'a [String], path: &str) -> Option<&'a [String]> {
    let mut rest = claim;
    for name in path.split('.').filter(|_| !path.is_empty()) {
        let (first, others) = rest.split_first()?;
        rest = (first == name).then_some(others)?;
    }
    Some(rest)
}

/// Returns the claims that headers have: a nested map of those that are present; `None` when none is.
fn in_headers(claims: &Claims, headers: &Headers) -> Option<Value> {
    let mut root = Node::default();
    for (claim, header) in claims {
        if let Some(value) = headers.text(header) {
            root.insert(&mut claim.iter().map(String::as_str), string(value));
        }
    }
    (root.leaf.is_some() || !root.children.is_empty()).then(|| root.into_value())
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
