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
    /// What else it means, if it is a scalar.
    pub also: Option<F>,
    /// Where to go on if it is an object.
    pub object: Option<Node>,
    /// Where to go on in the objects of it, if it is an array.
    pub elements: Option<Node>,
}

impl<F> Wanted<F> {
    const NOTHING: Self = Self {
        field: None,
        also: None,
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
    nodes: Vec<Edges<F>>,
}

/// The keys of an object, by their length: few of them have the same.
#[derive(Clone, Debug)]
struct Edges<F>([Vec<Edge<F>>; LENGTHS]);

/// The most keys that a JSON pointer may have, without indexes.
const DEEPEST_POINTER: usize = 5;

/// Lengths are told apart up to this many.
const LENGTHS: usize = 16;

impl<F> Edges<F> {
    fn new() -> Self {
        Self(std::array::from_fn(|_| Vec::new()))
    }

    fn of_length(&self, length: usize) -> &[Edge<F>] {
        self.0
            .get(length % LENGTHS)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    fn of_length_mut(&mut self, length: usize) -> Option<&mut Vec<Edge<F>>> {
        self.0.get_mut(length % LENGTHS)
    }
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
            nodes: vec![Edges::new(), Edges::new()],
        }
    }

    /// Adds a path from the root.
    pub fn insert(&mut self, path: &str, field: F) {
        let keys = path.split('.').map(|key| match key.strip_suffix("[]") {
            Some(key) => (key.as_bytes(), true),
            None => (key.as_bytes(), false),
        });
        if let Some(wanted) = self.edge(keys) {
            wanted.field = Some(field);
        }
    }

    /// Adds the paths of `below` under each of the paths `places`.
    pub fn insert_under(&mut self, places: &[(&str, F)], below: &[(&str, F)]) {
        for &(place, field) in places {
            self.insert(place, field);
            for &(path, field) in below {
                self.insert(&format!("{place}.{path}"), field);
            }
        }
    }

    /// Adds the path of a JSON pointer (RFC 6901) to a scalar, which may have another meaning too. An index
    /// stands for every object of its array.
    ///
    /// `false` if it is none, or goes to the document itself, to an element of an array, or too deep.
    #[must_use]
    pub fn insert_pointer(&mut self, pointer: &str, field: F) -> bool {
        let Some(keys) = pointer.strip_prefix('/') else {
            return false;
        };
        let mut path: Vec<(Vec<u8>, bool)> = Vec::new();
        for key in keys.split('/') {
            let index = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit());
            match path.last_mut() {
                Some((_, array)) if index && !*array => *array = true,
                _ => path.push((
                    key.replace("~1", "/").replace("~0", "~").into_bytes(),
                    false,
                )),
            }
        }
        let to_element = path.last().is_none_or(|(_, array)| *array);
        if to_element || path.len() > DEEPEST_POINTER {
            return false;
        }
        let keys = path.iter().map(|(key, array)| (key.as_slice(), *array));
        match self.edge(keys) {
            Some(wanted) => {
                wanted.also = Some(field);
                true
            }
            None => false,
        }
    }

    /// What is wanted of `key` in an object.
    #[must_use]
    pub fn find(&self, node: Node, key: &[u8]) -> Wanted<F> {
        self.nodes
            .get(usize::from(node.0))
            .map(|edges| edges.of_length(key.len()))
            .unwrap_or_default()
            .iter()
            .find(|edge| *edge.key == *key)
            .map_or_else(Wanted::default, |edge| edge.wanted)
    }

    /// What is wanted at the end of a path of keys, of which some are arrays; made where it is missing.
    /// `None` if the tree is full.
    fn edge<'a>(&mut self, keys: impl Iterator<Item = (&'a [u8], bool)>) -> Option<&mut Wanted<F>> {
        let mut node = Node::ROOT;
        let mut keys = keys.peekable();
        while let Some((key, array)) = keys.next() {
            if keys.peek().is_none() {
                return self.wanted(node, key);
            }
            let wanted = self.wanted(node, key)?;
            let known = if array {
                wanted.elements
            } else {
                wanted.object
            };
            let next = known.or_else(|| self.node())?;
            let wanted = self.wanted(node, key)?;
            if array {
                wanted.elements = Some(next);
            } else {
                wanted.object = Some(next);
            }
            node = next;
        }
        None
    }

    /// What is wanted of a key, added where it is missing.
    fn wanted(&mut self, node: Node, key: &[u8]) -> Option<&mut Wanted<F>> {
        let edges = self.nodes.get_mut(usize::from(node.0))?;
        let edges = edges.of_length_mut(key.len())?;
        let known = edges.iter().position(|edge| *edge.key == *key);
        let at = known.unwrap_or_else(|| {
            edges.push(Edge {
                key: key.into(),
                wanted: Wanted::NOTHING,
            });
            edges.len().saturating_sub(1)
        });
        edges.get_mut(at).map(|edge| &mut edge.wanted)
    }

    fn node(&mut self) -> Option<Node> {
        let next = u16::try_from(self.nodes.len()).ok()?;
        self.nodes.push(Edges::new());
        Some(Node(next))
    }
}
