//! Where in a JSON document something of interest lies: many paths, compiled into one tree.

/// One object of the tree, by its place in [`Paths`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node(u16);

impl Node {
    /// An object in which nothing is wanted.
    pub const NOTHING: Self = Self(0);
    /// The document itself.
    pub const ROOT: Self = Self(1);
}

/// What is wanted of the value of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<F> {
    /// What the value itself means, if anything.
    pub field: Option<F>,
    /// Where to go on if it is an object.
    pub object: Option<Node>,
    /// Where to go on in the objects of it, if it is an array.
    pub elements: Option<Node>,
}

impl<F> Wanted<F> {
    const NOTHING: Self = Self {
        field: None,
        object: None,
        elements: None,
    };
}

impl<F> Default for Wanted<F> {
    fn default() -> Self {
        Self::NOTHING
    }
}

/// A tree of paths, each ending in a field `F`.
///
/// A path is keys joined by dots; a key followed by `[]` is an array, whose objects the path goes on in.
#[derive(Clone, Debug)]
pub struct Paths<F> {
    nodes: Vec<Vec<Edge<F>>>,
}

/// A key of an object, and what is wanted there.
#[derive(Clone, Debug)]
struct Edge<F> {
    key: Box<[u8]>,
    wanted: Wanted<F>,
}

impl<F: Copy> Default for Paths<F> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F: Copy> Paths<F> {
    /// A tree without paths.
    #[must_use]
    pub fn new() -> Self {
        Self {
            nodes: vec![Vec::new(), Vec::new()],
        }
    }

    /// Adds a path from the root.
    pub fn insert(&mut self, path: &str, field: F) {
        if let Some(wanted) = self.edge(Node::ROOT, path) {
            wanted.field = Some(field);
        }
    }

    /// Adds the paths of `below` under each of the paths `places`.
    pub fn insert_under(&mut self, places: &[(&str, F)], below: &[(&str, F)]) {
        let Some(shared) = self.node() else { return };
        for &(path, field) in below {
            if let Some(wanted) = self.edge(shared, path) {
                wanted.field = Some(field);
            }
        }
        for &(path, field) in places {
            if let Some(wanted) = self.edge(Node::ROOT, path) {
                wanted.field = Some(field);
                wanted.object = Some(shared);
            }
        }
    }

    /// What is wanted of `key` in an object.
    #[must_use]
    pub fn find(&self, node: Node, key: &[u8]) -> Wanted<F> {
        self.nodes
            .get(usize::from(node.0))
            .and_then(|edges| edges.iter().find(|edge| *edge.key == *key))
            .map_or_else(Wanted::default, |edge| edge.wanted)
    }

    /// What is wanted at the end of a path, made where it is missing; `None` if the tree is full.
    fn edge(&mut self, from: Node, path: &str) -> Option<&mut Wanted<F>> {
        let mut node = from;
        let mut keys = path.split('.').peekable();
        while let Some(key) = keys.next() {
            let (key, array) = match key.strip_suffix("[]") {
                Some(key) => (key, true),
                None => (key, false),
            };
            let at = self.key(node, key.as_bytes())?;
            if keys.peek().is_none() {
                return self.wanted(node, at);
            }
            let wanted = self.wanted(node, at)?;
            let known = if array {
                wanted.elements
            } else {
                wanted.object
            };
            let next = known.or_else(|| self.node())?;
            let wanted = self.wanted(node, at)?;
            if array {
                wanted.elements = Some(next);
            } else {
                wanted.object = Some(next);
            }
            node = next;
        }
        None
    }

    /// The place of a key in a node.
    fn key(&mut self, node: Node, key: &[u8]) -> Option<usize> {
        let edges = self.nodes.get_mut(usize::from(node.0))?;
        let known = edges.iter().position(|edge| *edge.key == *key);
        Some(known.unwrap_or_else(|| {
            edges.push(Edge {
                key: key.into(),
                wanted: Wanted::NOTHING,
            });
            edges.len().saturating_sub(1)
        }))
    }

    fn wanted(&mut self, node: Node, at: usize) -> Option<&mut Wanted<F>> {
        let edge = self.nodes.get_mut(usize::from(node.0))?.get_mut(at)?;
        Some(&mut edge.wanted)
    }

    fn node(&mut self) -> Option<Node> {
        let next = u16::try_from(self.nodes.len()).ok()?;
        self.nodes.push(Vec::new());
        Some(Node(next))
    }
}
