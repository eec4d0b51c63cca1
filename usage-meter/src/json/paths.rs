//! The places in a JSON document that matter: many paths, compiled into one tree.

/// The maximum number of keys in a JSON pointer, not counting array indexes.
const MAX_POINTER_KEYS: usize = 5;

/// The number of buckets for the keys of an object, by the length of the key.
const LENGTH_BUCKETS: usize = 16;

/// A tree of paths, each of which leads to a field `F`.
///
/// A path is a list of keys joined by dots. A key followed by `[]` is an array; the path continues
/// in each of its objects.
#[derive(Clone, Debug)]
pub struct Paths<F> {
    nodes: Vec<Edges<F>>,
}

/// An object on a path, by its index in [`Paths`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node(u16);

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
}

/// The keys of an object that are on paths, in buckets by their length: few share one.
#[derive(Clone, Debug)]
struct Edges<F>([Vec<Edge<F>>; LENGTH_BUCKETS]);

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
    pub(super) const ROOT: Self = Self(1);
}

// === impl Match ===

impl<F> Match<F> {
    const NONE: Self = Self {
        field: None,
        pointer_field: None,
        object: None,
        elements: None,
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
        Self(std::array::from_fn(|_| Vec::new()))
    }

    fn of_length(&self, length: usize) -> &[Edge<F>] {
        self.0
            .get(length % LENGTH_BUCKETS)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    fn of_length_mut(&mut self, length: usize) -> Option<&mut Vec<Edge<F>>> {
        self.0.get_mut(length % LENGTH_BUCKETS)
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
        }
    }

    /// Adds a path from the root.
    pub fn insert(&mut self, path: &str, field: F) {
        let keys = path.split('.').map(|key| match key.strip_suffix("[]") {
            Some(key) => (key.as_bytes(), true),
            None => (key.as_bytes(), false),
        });
        if let Some(end) = self.end_of(keys) {
            end.field = Some(field);
        }
    }

    /// Adds each of the paths `prefixes`, and each path of `suffixes` below each of them.
    pub(crate) fn insert_under(&mut self, prefixes: &[(&str, F)], suffixes: &[(&str, F)]) {
        for &(prefix, field) in prefixes {
            self.insert(prefix, field);
            for &(suffix, field) in suffixes {
                self.insert(&format!("{prefix}.{suffix}"), field);
            }
        }
    }

    /// Adds the path of a JSON pointer (RFC 6901) to a scalar, which may be on another path too. An
    /// array index stands for every object of the array.
    ///
    /// Returns `false` if the text is not a JSON pointer, or points to the document itself, to an
    /// element of an array, or too deep.
    #[must_use]
    pub(crate) fn insert_pointer(&mut self, pointer: &str, field: F) -> bool {
        let Some(keys) = pointer.strip_prefix('/') else {
            return false;
        };
        let mut path: Vec<(Vec<u8>, bool)> = Vec::new();
        for key in keys.split('/') {
            let is_index = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit());
            match path.last_mut() {
                Some((_, is_array)) if is_index && !*is_array => *is_array = true,
                _ => path.push((
                    key.replace("~1", "/").replace("~0", "~").into_bytes(),
                    false,
                )),
            }
        }
        let points_to_element = path.last().is_none_or(|(_, is_array)| *is_array);
        if points_to_element || path.len() > MAX_POINTER_KEYS {
            return false;
        }
        let keys = path
            .iter()
            .map(|(key, is_array)| (key.as_slice(), *is_array));
        match self.end_of(keys) {
            Some(end) => {
                end.pointer_field = Some(field);
                true
            }
            None => false,
        }
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

    /// Returns the end of a path of keys, each with whether it is an array, and adds the path if it
    /// is missing. `None` if the tree is full.
    fn end_of<'a>(
        &mut self,
        keys: impl Iterator<Item = (&'a [u8], bool)>,
    ) -> Option<&mut Match<F>> {
        let mut node = Node::ROOT;
        let mut keys = keys.peekable();
        while let Some((key, is_array)) = keys.next() {
            if keys.peek().is_none() {
                return self.edge(node, key);
            }
            let found = self.edge(node, key)?;
            let known = if is_array {
                found.elements
            } else {
                found.object
            };
            let next = known.or_else(|| self.add_node())?;
            let found = self.edge(node, key)?;
            if is_array {
                found.elements = Some(next);
            } else {
                found.object = Some(next);
            }
            node = next;
        }
        None
    }

    /// Returns the match of a key, and adds the key if it is missing.
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

    fn add_node(&mut self) -> Option<Node> {
        let next = u16::try_from(self.nodes.len()).ok()?;
        self.nodes.push(Edges::new());
        Some(Node(next))
    }
}
