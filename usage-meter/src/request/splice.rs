//! Changes to a part of a JSON body. All other bytes stay the same.

use std::ops::Range;

use crate::json::{BYTE_ORDER_MARK, Member, Members, skip_space};

/// A body that is a JSON object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object<'a> {
    body: &'a [u8],
    /// Where the object is; without what follows it.
    start: usize,
    end: usize,
}

// === impl Object ===

impl<'a> Object<'a> {
    /// Returns a body that is expected to be an object, without a byte order mark; `None` if it is not UTF-8.
    #[cold]
    pub(super) fn new(body: &'a [u8]) -> Option<Self> {
        str::from_utf8(body).ok()?;
        let json = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
        Some(Self {
            body,
            start: body.len().saturating_sub(json.len()),
            end: body.len(),
        })
    }

    /// Returns the value at a place, if it is an object.
    pub(super) const fn at(self, place: &Range<usize>) -> Self {
        Self {
            start: place.start,
            end: place.end,
            ..self
        }
    }

    /// Returns the whole body.
    pub(super) const fn whole(self) -> &'a [u8] {
        self.body
    }

    /// Returns the part of the body that is at a place.
    pub(super) fn text(self, place: &Range<usize>) -> &'a [u8] {
        self.body.get(place.clone()).unwrap_or_default()
    }

    /// Returns where the value of a key is, `None` without one.
    ///
    /// # Errors
    /// If the key is not unique, or there is no object.
    #[cold]
    pub(super) fn find(self, key: &str) -> Result<Option<Range<usize>>, ()> {
        self.find_all(key, 1).map(|mut all| all.pop())
    }

    /// Returns where the values of a key are, in their order.
    ///
    /// # Errors
    /// If there are more than `max`, or there is no object.
    #[cold]
    pub(super) fn find_all(self, key: &str, max: usize) -> Result<Vec<Range<usize>>, ()> {
        let members = Members::of(self.text(&(self.start..self.end))).ok_or(())?;
        let found = members.find_all(key, max)?.into_iter();
        let absolute = |at: usize| at.saturating_add(self.start);
        Ok(found
            .map(|value| absolute(value.start)..absolute(value.end))
            .collect())
    }

    /// Calls a function with each member, and where its value is in the body, as long as it returns `Some`.
    ///
    /// Returns `None` if the function does, or there is no object.
    #[cold]
    pub(super) fn each(
        self,
        mut visit: impl FnMut(&Member<'a>, Range<usize>) -> Option<()>,
    ) -> Option<()> {
        let members = Members::of(self.text(&(self.start..self.end)))?;
        let absolute = |at: usize| at.saturating_add(self.start);
        members.each(|member| {
            let Range { start, end } = member.value;
            visit(member, absolute(start)..absolute(end))
        })
    }

    /// Checks that every server takes the same members for those with these keys.
    ///
    /// # Errors
    /// If a key is one of them but for case, or is written with escapes or other letters than ASCII.
    #[cold]
    pub(super) fn check_keys(self, keys: &[&str]) -> Result<(), ()> {
        let members = Members::of(self.text(&(self.start..self.end))).ok_or(())?;
        if members.are_plain(keys) {
            Ok(())
        } else {
            Err(())
        }
    }

    /// Returns the body with what is at a place replaced.
    #[cold]
    pub(super) fn replace(self, place: &Range<usize>, replacement: &[u8]) -> Option<Vec<u8>> {
        let capacity = self.body.len().saturating_add(replacement.len());
        let mut spliced = Vec::with_capacity(capacity);
        spliced.extend_from_slice(self.body.get(..place.start)?);
        spliced.extend_from_slice(replacement);
        spliced.extend_from_slice(self.body.get(place.end..)?);
        Some(spliced)
    }

    /// Returns the body with a member inserted at the start of the object.
    #[cold]
    pub(super) fn insert(self, member: &str) -> Option<Vec<u8>> {
        let members = Members::of(self.body.get(self.start..self.end)?)?;
        let at = members.position().checked_add(self.start)?;
        let is_empty = self.body.get(skip_space(self.body, at)) == Some(&b'}');
        let comma = if is_empty { "" } else { "," };
        self.replace(&(at..at), [member, comma].concat().as_bytes())
    }
}
