//! The objects and arrays that are open around the next byte.

use super::paths::{Match, Node, Paths};

/// The maximum depth of a path; what lies deeper is skipped.
const MAX_DEPTH: usize = 12;

/// The objects and arrays that are open: those on a path as levels, those below them as a number.
#[derive(Debug)]
pub(super) struct Nesting<F> {
    levels: Vec<Level<F>>,
    /// The number of objects and arrays that are open below the last level.
    skipped: u64,
}

/// An object or array on a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level<F> {
    /// The node in which its keys are searched; [`Node::NONE`] for an array.
    pub(super) node: Node,
    /// The node of its objects, if it is an array.
    pub(super) elements: Option<Node>,
    /// The node in which its elements are keys, by their indexes, if it is an array.
    pub(super) items: Option<Node>,
    /// The index of the next element, if there is such a node.
    index: u32,
    /// The field whose value it is.
    pub(super) field: Option<F>,
    pub(super) is_empty: bool,
    pub(super) is_document: bool,
}

/// An index in decimal digits.
struct Digits {
    digits: [u8; 10],
    start: usize,
}

// === impl Nesting ===

impl<F: Copy + PartialEq> Nesting<F> {
    pub(super) const fn new() -> Self {
        Self {
            levels: Vec::new(),
            skipped: 0,
        }
    }

    /// Returns whether nothing is open.
    pub(super) fn is_at_root(&self) -> bool {
        self.levels.is_empty() && self.skipped == 0
    }

    /// Returns whether one of the open objects is a document.
    pub(super) fn is_in_document(&self) -> bool {
        self.levels.iter().any(|level| level.is_document)
    }

    /// Closes everything.
    pub(super) fn reset(&mut self) {
        self.levels.clear();
        self.skipped = 0;
    }

    /// Returns the innermost object or array; `None` if that is not on a path.
    pub(super) fn innermost(&mut self) -> Option<&mut Level<F>> {
        if self.skipped > 0 {
            return None;
        }
        self.levels.last_mut()
    }

    /// Returns what the paths say about the value of `key` in the innermost object.
    pub(super) fn find(&self, paths: &Paths<F>, key: &[u8]) -> Match<F> {
        match self.levels.last() {
            Some(level) if self.skipped == 0 => paths.find(level.node, key),
            _ => Match::default(),
        }
    }

    /// Returns what the paths say about the next element of the innermost array; `None` if no path
    /// continues in one of its elements.
    pub(super) fn next_element(&mut self, paths: &Paths<F>) -> Option<Match<F>> {
        let level = self.innermost()?;
        let items = level.items?;
        let found = paths.find(items, Digits::of(level.index).as_bytes());
        level.index = level.index.saturating_add(1);
        Some(found)
    }

    /// Returns the level that an object, or else an array, opens; `None` if it is not on a path.
    /// `found` is what `paths` say about it.
    pub(super) fn level(
        &mut self,
        is_object: bool,
        found: Match<F>,
        paths: &Paths<F>,
    ) -> Option<Level<F>> {
        let object = |node, field, is_document| Level {
            node,
            elements: None,
            items: None,
            index: 0,
            field,
            is_empty: true,
            is_document,
        };
        let array = |elements, items, field| Level {
            elements,
            items,
            ..object(Node::NONE, field, false)
        };
        let Some(innermost) = self.innermost() else {
            // At the root.
            return Some(if is_object {
                object(Node::ROOT, None, true)
            } else {
                array(Some(Node::ROOT), paths.root_items(), None)
            });
        };
        let is_document = innermost.elements == Some(Node::ROOT);
        if found == Match::default() {
            let elements = innermost.elements?;
            return is_object.then(|| object(elements, paths.element_field(elements), is_document));
        }
        Some(if is_object {
            let node = found.object.unwrap_or(Node::NONE);
            object(node, found.field.or(paths.element_field(node)), is_document)
        } else {
            array(found.elements, found.items, found.field)
        })
    }

    /// Opens a level. Returns its index, or `None` if it lies too deep.
    pub(super) fn open(&mut self, level: Level<F>) -> Option<usize> {
        let index = self.levels.len();
        if index == MAX_DEPTH {
            return None;
        }
        self.levels.push(level);
        Some(index)
    }

    /// Returns the index of the innermost level.
    pub(super) fn innermost_index(&self) -> Option<usize> {
        self.levels.len().checked_sub(1)
    }

    /// Closes the innermost level and returns it.
    pub(super) fn close(&mut self) -> Option<Level<F>> {
        self.levels.pop()
    }

    /// Returns the number of objects and arrays that are open below the last level.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Opens an object or array that is not on a path. Returns the number of them.
    pub(super) fn open_skipped(&mut self) -> u64 {
        self.skipped = self.skipped.saturating_add(1);
        self.skipped
    }

    /// Closes an object or array that is not on a path.
    pub(super) fn close_skipped(&mut self) {
        self.skipped = self.skipped.saturating_sub(1);
    }
}

// === impl Digits ===

impl Digits {
    fn of(index: u32) -> Self {
        let mut digits = [b'0'; 10];
        let mut start = digits.len();
        let mut rest = index;
        for (position, slot) in digits.iter_mut().enumerate().rev() {
            let digit = u8::try_from(rest % 10).unwrap_or(0);
            *slot = b'0'.saturating_add(digit);
            start = position;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        Self { digits, start }
    }

    fn as_bytes(&self) -> &[u8] {
        self.digits.get(self.start..).unwrap_or_default()
    }
}
