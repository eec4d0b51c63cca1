//! The places in a JSON document that matter: many paths, compiled into one tree.

use super::pointer::{Pointer, is_index};

#[cfg(test)]
mod tests;

/// The number of buckets for the keys of an object, by the length of the key.
const LENGTH_BUCKETS: usize = 16;

/// A tree of paths, each of which leads to a field `F`.
///
/// A path is a list of keys joined by dots. A key followed by `[]` is an array; the path continues
/// in each of its objects, or leads to each of them.
///
/// Paths that continue alike share a part of the tree: such a node is copied before it changes.
#[derive(Clone, Debug)]
pub struct Paths<F> {
    nodes: Vec<Edges<F>>,
    /// Whether a path continues in one element of an array, by its index.
    has_indexes: bool,
    /// Whether one does so in an array at the root.
    has_root_indexes: bool,
    /// The root without pointers: that of the documents in an array at the root.
    root_elements: Option<Node>,
}

/// An object on a path, by its index in [`Paths`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node(u16);

/// What the paths say about the value of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match<F> {
    /// The field whose value it is.
    pub(super) field: Option<F>,
    /// A second field, of a JSON pointer, whose value it is if it is a scalar.
    pub(super) pointer_field: Option<F>,
    /// The node in which paths continue if it is an object.
    pub(super) object: Option<Node>,
    /// The node in which paths continue in its objects if it is an array.
    pub(super) elements: Option<Node>,
    /// The node in which its elements are keys, by their indexes, if it is an array. What that says
    /// about an element replaces what [`Self::elements`] says.
    pub(super) items: Option<Node>,
}

/// How a path continues in a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// In an object.
    Object,
    /// In every object of an array.
    Elements,
    /// In an object or in one element of an array.
    Item,
}

/// The keys of an object that are on paths.
#[derive(Clone, Debug)]
struct Edges<F> {
    /// Buckets by the length of the key: few keys share one.
    buckets: [Vec<Edge<F>>; LENGTH_BUCKETS],
    /// The field whose value the object is, if it is an element of an array.
    element_field: Option<F>,
    /// Whether several edges lead here, so that it must be copied before it changes.
    is_shared: bool,
}

/// A key of an object.
#[derive(Clone, Debug)]
struct Edge<F> {
    key: Box<[u8]>,
    found: Match<F>,
}

// === impl Node ===

impl Node {
    /// An object in which no path continues.
    pub(super) const NONE: Self = Self(0);
    /// The document itself.
    pub(crate) const ROOT: Self = Self(1);
}

// === impl Match ===

impl<F> Match<F> {
    const NONE: Self = Self {
        field: None,
        pointer_field: None,
        object: None,
        elements: None,
        items: None,
    };
}

impl<F> Default for Match<F> {
    fn default() -> Self {
        Self::NONE
    }
}

// === impl Edges ===

impl<F> Edges<F> {
    fn new() -> Self {
        Self {
            buckets: std::array::from_fn(|_| Vec::new()),
            element_field: None,
            is_shared: false,
        }
    }

    fn of_length(&self, length: usize) -> &[Edge<F>] {
        self.buckets
            .get(length % LENGTH_BUCKETS)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    fn of_length_mut(&mut self, length: usize) -> Option<&mut Vec<Edge<F>>> {
        self.buckets.get_mut(length % LENGTH_BUCKETS)
    }

    /// Returns the nodes in which paths continue.
    fn children(&self) -> impl Iterator<Item = Node> {
        let edges = self.buckets.iter().flatten();
        edges.flat_map(|edge| {
            [edge.found.object, edge.found.elements, edge.found.items]
                .into_iter()
                .flatten()
        })
    }
}

// === impl Paths ===

impl<F: Copy> Default for Paths<F> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F: Copy> Paths<F> {
    /// Returns a tree without paths.
    #[must_use]
    pub fn new() -> Self {
        Self {
            nodes: vec![Edges::new(), Edges::new()],
            has_indexes: false,
            has_root_indexes: false,
            root_elements: None,
        }
    }

    /// Adds a path from the root.
    pub fn insert(&mut self, path: &str, field: F) {
        self.insert_below(Node::ROOT, path, field);
    }

    /// Adds a path from a node.
    #[cold]
    pub(crate) fn insert_below(&mut self, node: Node, path: &str, field: F) {
        if let Some(end) = self.end_of(node, path) {
            end.field = Some(field);
        }
    }

    /// Adds a path from a node to each object of an array. Returns the node of these objects.
    #[cold]
    pub(crate) fn insert_elements(&mut self, node: Node, path: &str, field: F) -> Option<Node> {
        let mut node = node;
        let mut key = path;
        while let Some((first, others)) = key.split_once('.') {
            node = self.enter(node, first.as_bytes(), Step::Object)?;
            key = others;
        }
        let elements = self.enter(node, key.as_bytes(), Step::Elements)?;
        let edges = self.nodes.get_mut(usize::from(elements.0))?;
        edges.element_field = Some(field);
        Some(elements)
    }

    /// Adds a node that several paths can lead to.
    pub(crate) fn add_shared(&mut self) -> Option<Node> {
        let mut edges = Edges::new();
        edges.is_shared = true;
        self.add_node(edges)
    }

    /// Adds a path from a node to an object that continues in another node.
    #[cold]
    pub(crate) fn link(&mut self, node: Node, path: &str, to: Node) {
        if let Some(end) = self.end_of(node, path) {
            end.object = Some(to);
        }
    }

    /// Adds the path of a JSON pointer to a scalar, which may be on another path too. An index is
    /// that of an element of an array, or a key of an object.
    #[cold]
    pub(crate) fn insert_pointer(&mut self, pointer: &Pointer, field: F) {
        let mut node = Node::ROOT;
        if self.root_elements.is_none() {
            self.root_elements = self.copy(Node::ROOT);
        }
        // The node of the objects of the array that the next part may be an index of.
        let mut elements = self.root_elements;
        let mut parts = pointer.parts().iter().peekable();
        self.has_root_indexes |= parts.peek().is_some_and(|part| is_index(part));
        while let Some(part) = parts.next() {
            let key = part.as_bytes();
            if is_index(part) {
                self.has_indexes = true;
                self.add_item(node, key, elements);
            }
            let Some(next) = parts.peek() else {
                if let Some(end) = self.edge(node, key) {
                    end.pointer_field = Some(field);
                }
                return;
            };
            let step = if is_index(next) {
                Step::Item
            } else {
                Step::Object
            };
            let Some(next) = self.enter(node, key, step) else {
                return;
            };
            elements = self.edge(node, key).and_then(|found| found.elements);
            node = next;
        }
    }

    /// Returns whether elements of arrays have to be counted.
    pub(super) fn has_indexes(&self) -> bool {
        self.has_indexes
    }

    /// Returns the node in which the elements of an array at the root are keys.
    pub(super) fn root_items(&self) -> Option<Node> {
        self.has_root_indexes.then_some(Node::ROOT)
    }

    /// Returns the field whose value an object in an array is.
    pub(super) fn element_field(&self, node: Node) -> Option<F> {
        self.nodes.get(usize::from(node.0))?.element_field
    }

    /// Returns what the paths say about the value of `key` in an object.
    pub(super) fn find(&self, node: Node, key: &[u8]) -> Match<F> {
        self.nodes
            .get(usize::from(node.0))
            .map(|edges| edges.of_length(key.len()))
            .unwrap_or_default()
            .iter()
            .find(|edge| *edge.key == *key)
            .map_or_else(Match::default, |edge| edge.found)
    }

    /// Returns the end of a path from a node, and adds the path if it is missing. `None` if the tree
    /// is full.
    #[cold]
    fn end_of(&mut self, node: Node, path: &str) -> Option<&mut Match<F>> {
        let mut node = node;
        let mut keys = path.split('.').peekable();
        while let Some(key) = keys.next() {
            let (key, step) = match key.strip_suffix("[]") {
                Some(key) => (key, Step::Elements),
                None => (key, Step::Object),
            };
            if keys.peek().is_none() {
                return self.edge(node, key.as_bytes());
            }
            node = self.enter(node, key.as_bytes(), step)?;
        }
        None
    }

    /// Adds an element of an array. If it is an object, the paths of all objects of the array continue
    /// in it too.
    #[cold]
    fn add_item(&mut self, node: Node, index: &[u8], elements: Option<Node>) {
        let is_known = self
            .edge(node, index)
            .is_some_and(|item| item.object.is_some());
        if !is_known
            && let Some(elements) = elements
            && let Some(copy) = self.copy(elements)
            && let Some(item) = self.edge(node, index)
        {
            item.object = Some(copy);
        }
    }

    /// Returns the node in which a path continues, for this path alone.
    #[cold]
    fn enter(&mut self, node: Node, key: &[u8], step: Step) -> Option<Node> {
        let found = *self.edge(node, key)?;
        let known = match step {
            Step::Elements => found.elements,
            Step::Object | Step::Item => found.object,
        };
        let is_shared = |node: Node| {
            let edges = self.nodes.get(usize::from(node.0));
            edges.is_none_or(|edges| edges.is_shared)
        };
        let next = match known {
            Some(known) if is_shared(known) => self.copy(known)?,
            Some(known) => known,
            None => self.add_node(Edges::new())?,
        };
        let found = self.edge(node, key)?;
        match step {
            Step::Elements => found.elements = Some(next),
            Step::Object => found.object = Some(next),
            Step::Item => {
                found.object = Some(next);
                found.items = Some(next);
            }
        }
        Some(next)
    }

    /// Copies a node. The nodes below it are shared from then on.
    #[cold]
    fn copy(&mut self, node: Node) -> Option<Node> {
        let mut edges = self.nodes.get(usize::from(node.0))?.clone();
        edges.is_shared = false;
        for child in edges.children() {
            self.nodes.get_mut(usize::from(child.0))?.is_shared = true;
        }
        self.add_node(edges)
    }

    /// Returns the match of a key, and adds the key if it is missing.
    #[cold]
    fn edge(&mut self, node: Node, key: &[u8]) -> Option<&mut Match<F>> {
        let edges = self.nodes.get_mut(usize::from(node.0))?;
        let edges = edges.of_length_mut(key.len())?;
        let known = edges.iter().position(|edge| *edge.key == *key);
        let index = known.unwrap_or_else(|| {
            edges.push(Edge {
                key: key.into(),
                found: Match::NONE,
            });
            edges.len().saturating_sub(1)
        });
        edges.get_mut(index).map(|edge| &mut edge.found)
    }

    fn add_node(&mut self, edges: Edges<F>) -> Option<Node> {
        let next = u16::try_from(self.nodes.len()).ok()?;
        self.nodes.push(edges);
        Some(Node(next))
    }
}
