//! The members of one object in a complete text, and the positions of their values.

use std::ops::Range;

use memchr::memchr2;

#[cfg(test)]
mod tests;

/// An object, as far as its members were read. Values are skipped and not validated.
#[derive(Debug)]
pub(crate) struct Members<'a> {
    text: &'a [u8],
    at: usize,
    state: State,
}

/// A member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member<'a> {
    /// The key between its quotation marks, as written.
    pub(crate) key: &'a [u8],
    /// Where the value is in the text.
    pub(crate) value: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first member.
    Open,
    /// After a member.
    Between,
    /// After the closing brace.
    Closed,
    /// The text is not an object.
    Malformed,
}

// === impl Members ===

impl<'a> Members<'a> {
    /// Returns the members of the object that `text` begins with, after white space; `None` if it begins with
    /// something else.
    pub(crate) fn of(text: &'a [u8]) -> Option<Self> {
        let at = skip_space(text, 0);
        (text.get(at) == Some(&b'{')).then(|| Self {
            text,
            at: at.saturating_add(1),
            state: State::Open,
        })
    }

    /// Returns where the value of the only member with this key is, `None` without one. The whole object is
    /// read.
    ///
    /// # Errors
    /// If several members have that key, the object is malformed, or something follows it.
    #[cold]
    pub(crate) fn find(self, key: &str) -> Result<Option<Range<usize>>, ()> {
        self.find_all(key, 1).map(|mut all| all.pop())
    }

    /// Returns where the values of all members with this key are, in their order. The whole object is read.
    ///
    /// # Errors
    /// If more than `max` members have that key, the object is malformed, or something follows it.
    #[cold]
    pub(crate) fn find_all(mut self, key: &str, max: usize) -> Result<Vec<Range<usize>>, ()> {
        let mut found = Vec::new();
        while let Some(member) = self.next() {
            if member.is_named(key) {
                if found.len() >= max {
                    return Err(());
                }
                found.push(member.value);
            }
        }
        let is_whole =
            self.state == State::Closed && skip_space(self.text, self.at) == self.text.len();
        if is_whole { Ok(found) } else { Err(()) }
    }

    /// Calls a function with each member, as long as it returns `Some`. The whole object is read.
    ///
    /// Returns `None` if the function does, the object is malformed, or something follows it.
    #[cold]
    pub(crate) fn each(mut self, mut visit: impl FnMut(&Member<'a>) -> Option<()>) -> Option<()> {
        while let Some(member) = self.next() {
            visit(&member)?;
        }
        let is_whole =
            self.state == State::Closed && skip_space(self.text, self.at) == self.text.len();
        is_whole.then_some(())
    }

    /// Returns whether no key is one of `names` but for case, and each is ASCII without escapes.
    #[cold]
    pub(crate) fn are_plain(mut self, names: &[&str]) -> bool {
        while let Some(Member { key, .. }) = self.next() {
            let is_other =
                |name: &&str| key.eq_ignore_ascii_case(name.as_bytes()) && key != name.as_bytes();
            if !key.is_ascii() || key.contains(&b'\\') || names.iter().any(is_other) {
                return false;
            }
        }
        true
    }

    /// Returns the position after the opening brace, or after the last member that was read.
    pub(crate) const fn position(&self) -> usize {
        self.at
    }

    #[cold]
    fn next(&mut self) -> Option<Member<'a>> {
        self.at = skip_space(self.text, self.at);
        match (self.state, self.text.get(self.at)) {
            (State::Open | State::Between, Some(b'}')) => {
                self.at = self.at.saturating_add(1);
                self.state = State::Closed;
                return None;
            }
            (State::Between, Some(b',')) => {
                self.at = skip_space(self.text, self.at.saturating_add(1));
            }
            (State::Open, Some(_)) => {}
            _ => {
                self.state = State::Malformed;
                return None;
            }
        }
        let member = self.member();
        self.state = match member {
            Some(_) => State::Between,
            None => State::Malformed,
        };
        member
    }

    #[cold]
    fn member(&mut self) -> Option<Member<'a>> {
        let text = self.text;
        if text.get(self.at) != Some(&b'"') {
            return None;
        }
        let key_end = string_end(text, self.at)?;
        let key = text.get(self.at.saturating_add(1)..key_end.saturating_sub(1))?;
        let colon = skip_space(text, key_end);
        if text.get(colon) != Some(&b':') {
            return None;
        }
        let value = skip_space(text, colon.saturating_add(1));
        self.at = value_end(text, value)?;
        Some(Member {
            key,
            value: value..self.at,
        })
    }
}

// === impl Member ===

impl Member<'_> {
    /// Returns whether the key is this name, which has only letters, digits and underscores.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        let mut rest = self.key;
        for expected in name.bytes() {
            rest = match rest {
                [b'\\', b'u', tail @ ..] => {
                    let Some((digits, tail)) = tail.split_at_checked(4) else {
                        return false;
                    };
                    let digits = str::from_utf8(digits).unwrap_or_default();
                    if u32::from_str_radix(digits, 16) != Ok(expected.into()) {
                        return false;
                    }
                    tail
                }
                [byte, tail @ ..] if *byte == expected => tail,
                _ => return false,
            };
        }
        rest.is_empty()
    }
}

/// Calls a function with each element of an array, as long as it returns `Some`. Elements are not validated.
///
/// Returns `None` if the function does, the text is no array, or something follows it.
#[cold]
pub(crate) fn each_element<'a>(
    text: &'a [u8],
    mut visit: impl FnMut(&'a [u8]) -> Option<()>,
) -> Option<()> {
    let mut at = skip_space(text, 0);
    if text.get(at) != Some(&b'[') {
        return None;
    }
    at = skip_space(text, at.saturating_add(1));
    let mut is_first = true;
    loop {
        match text.get(at)? {
            b']' => {
                let end = skip_space(text, at.saturating_add(1));
                return (end == text.len()).then_some(());
            }
            b',' if !is_first => at = skip_space(text, at.saturating_add(1)),
            _ if is_first => {}
            _ => return None,
        }
        is_first = false;
        let end = value_end(text, at)?;
        visit(text.get(at..end)?)?;
        at = skip_space(text, end);
    }
}

/// Returns the position of the first byte from `at` on that is not white space.
pub(crate) fn skip_space(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let space = rest
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    at.saturating_add(space.count())
}

/// Returns the position after the string that begins at `at`.
fn string_end(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at.checked_add(1)?;
    loop {
        at = at.checked_add(memchr2(b'"', b'\\', text.get(at..)?)?)?;
        match text.get(at)? {
            b'"' => return at.checked_add(1),
            _ => at = at.checked_add(2)?,
        }
    }
}

/// Returns the position after the value that begins at `at`.
fn value_end(text: &[u8], at: usize) -> Option<usize> {
    let start = at;
    let mut at = at;
    let mut depth = 0_u64;
    loop {
        match text.get(at) {
            Some(b'"') => at = string_end(text, at)?,
            Some(b'{' | b'[') => {
                depth = depth.checked_add(1)?;
                at = at.checked_add(1)?;
                continue;
            }
            Some(b'}' | b']') if depth > 0 => {
                depth = depth.checked_sub(1)?;
                at = at.checked_add(1)?;
            }
            // The rest of a number or literal, or what is between values further down.
            Some(byte)
                if depth > 0
                    || !matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r') =>
            {
                at = at.checked_add(1)?;
                continue;
            }
            // The end of a number or literal.
            _ if depth == 0 && at > start => return Some(at),
            _ => return None,
        }
        if depth == 0 {
            return Some(at);
        }
    }
}
