//! The places in a request's body that matter: the parameters of all APIs, and the JSON pointers that
//! a user of the crate names.

use std::sync::{Arc, LazyLock};

use super::super::parameters::{FIELDS, Field};
use crate::json::is_index;

/// JSON pointers (RFC 6901) into the bodies of requests.
///
/// ```
/// use std::sync::Arc;
/// use usage_meter::request::{BodyReader, Pointers};
///
/// let pointers = Arc::new(Pointers::new(&["/metadata/team", "/tools/0"]));
/// let mut reader = BodyReader::new(None, &pointers);
/// reader.push(br#"{"model":"m","metadata":{"te"#);
/// reader.push(br#"am":"search"}}"#);
/// reader.finish();
/// assert_eq!(reader.value(0), Some(br#""search""#.as_slice()));
/// assert_eq!(reader.value(1), None);
/// assert_eq!(reader.parameters().model.as_deref(), Some("m"));
/// ```
#[derive(Debug)]
pub struct Pointers {
    nodes: Vec<Node>,
    texts: Vec<String>,
}

/// A place in the body, by its index among the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeIndex(u16);

/// A place in the body.
#[derive(Debug, Default)]
struct Node {
    /// The key that leads here.
    key: Vec<u8>,
    /// The index that leads here, where the value above is an array.
    index: Option<u32>,
    /// The places below, each with the length of the key that leads there, in the order of these keys.
    children: Vec<(usize, NodeIndex)>,
    field: Option<Field>,
    pointer: Option<usize>,
}

// === impl NodeIndex ===

impl NodeIndex {
    /// The body itself.
    pub(super) const ROOT: Self = Self(0);
}

// === impl Pointers ===

impl Pointers {
    /// Returns a set of pointers; their values are known by their positions. What is not a pointer has no
    /// value.
    #[cold]
    #[must_use]
    pub fn new(pointers: &[&str]) -> Self {
        let mut set = Self {
            nodes: vec![Node::default()],
            texts: pointers.iter().map(|&text| text.to_owned()).collect(),
        };
        for &(path, field) in FIELDS {
            if let Some(node) = set.insert(&mut path.split('.').map(str::to_owned)) {
                node.field = Some(field);
            }
        }
        for index in 0..set.texts.len() {
            let text = set.texts.get(index).cloned().unwrap_or_default();
            if !text.is_empty() && !text.starts_with('/') {
                continue;
            }
            let keys = text.split('/').skip(1);
            let mut keys = keys.map(|key| key.replace("~1", "/").replace("~0", "~"));
            if let Some(node) = set.insert(&mut keys) {
                node.pointer = Some(index);
            }
        }
        set
    }

    /// Returns the set without pointers.
    pub(crate) fn none() -> Arc<Self> {
        static NONE: LazyLock<Arc<Pointers>> = LazyLock::new(|| Arc::new(Pointers::new(&[])));
        Arc::clone(&NONE)
    }

    /// Returns the texts of the pointers.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Returns the parameter that a key at the root names.
    pub(super) fn root_field(&self, key: &[u8]) -> Option<Field> {
        self.field(self.member(NodeIndex::ROOT, key)?)
    }

    /// Returns the place of a member of the object at a place.
    pub(super) fn member(&self, node: NodeIndex, key: &[u8]) -> Option<NodeIndex> {
        let place = self.place(node, key).ok()?;
        let (_, child) = self.node(node)?.children.get(place)?;
        Some(*child)
    }

    /// Returns where the child with a key is among those of a node or, as an error, where it would have to be.
    fn place(&self, node: NodeIndex, key: &[u8]) -> Result<usize, usize> {
        let node = self.node(node).ok_or(0_usize)?;
        node.children.binary_search_by(|(length, child)| {
            // Shorter keys are first: most are of another length, and need not be compared.
            length.cmp(&key.len()).then_with(|| {
                let known = self.node(*child).map(|child| child.key.as_slice());
                known.unwrap_or_default().cmp(key)
            })
        })
    }

    /// Returns the place of an element of the array at a place.
    pub(super) fn element(&self, node: NodeIndex, index: u32) -> Option<NodeIndex> {
        let mut children = self.node(node)?.children.iter();
        let is_it = |child: &Node| child.index == Some(index);
        let found = children.find(|(_, child)| self.node(*child).is_some_and(is_it));
        found.map(|(_, child)| *child)
    }

    pub(super) fn field(&self, node: NodeIndex) -> Option<Field> {
        self.node(node)?.field
    }

    pub(super) fn pointer(&self, node: NodeIndex) -> Option<usize> {
        self.node(node)?.pointer
    }

    /// Calls back with each pointer at a place or below it.
    #[cold]
    pub(super) fn each_below(&self, node: NodeIndex, found: &mut dyn FnMut(usize)) {
        let mut open = vec![node];
        while let Some(node) = open.pop().and_then(|node| self.node(node)) {
            if let Some(pointer) = node.pointer {
                found(pointer);
            }
            open.extend(node.children.iter().map(|(_, child)| *child));
        }
    }

    fn node(&self, node: NodeIndex) -> Option<&Node> {
        self.nodes.get(usize::from(node.0))
    }

    /// Returns the node at a path, which is added where it is missing; `None` if there are too many.
    #[cold]
    fn insert(&mut self, keys: &mut dyn Iterator<Item = String>) -> Option<&mut Node> {
        let mut at = NodeIndex::ROOT;
        for key in keys {
            at = match self.place(at, key.as_bytes()) {
                Ok(place) => self.node(at)?.children.get(place)?.1,
                Err(place) => {
                    let index = NodeIndex(u16::try_from(self.nodes.len()).ok()?);
                    let length = key.len();
                    self.nodes.push(Node {
                        index: array_index(&key),
                        key: key.into_bytes(),
                        ..Node::default()
                    });
                    let children = &mut self.nodes.get_mut(usize::from(at.0))?.children;
                    children.insert(place, (length, index));
                    index
                }
            };
        }
        self.nodes.get_mut(usize::from(at.0))
    }
}

/// Returns the index that a part of a pointer is in an array.
fn array_index(part: &str) -> Option<u32> {
    is_index(part).then(|| part.parse().ok()).flatten()
}
