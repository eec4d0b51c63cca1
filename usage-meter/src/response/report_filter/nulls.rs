//! The member `"usage":null`, which every chunk has where a report is requested.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memchr_iter;
use memchr::memmem::Finder;

const KEY: &[u8] = b"\"usage\"";

/// The member as most servers write it.
const NULL: &[u8] = b",\"usage\":null";

/// The number of bytes at the end of a piece in which such a member may begin.
const END_BYTES: usize = 32;

/// What begins with a comma.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    /// The member, of this length with the comma.
    Null(usize),
    /// What may become it.
    Begun,
    Other,
}

/// Returns whether bytes have such a member. One that begins an object is none.
pub(super) fn has_any(bytes: &[u8]) -> bool {
    let mut at = 0;
    while let Some(key) = find_key(bytes, at) {
        if member(bytes, 0, &key).is_some() {
            return true;
        }
        at = key.end;
    }
    false
}

/// Returns where the next key `usage` is from `at` on.
///
/// A key differs from text, whatever surrounds it: a quote after a comma that ended a string would be followed by
/// punctuation, and one within a string is escaped.
pub(super) fn find_key(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(KEY));
    let start = at.checked_add(FINDER.find(bytes.get(at..)?)?)?;
    Some(start..start.checked_add(KEY.len())?)
}

/// Returns where the member with this key is, with the comma before it, if it is such a member and begins at `from`
/// or later.
pub(super) fn member(bytes: &[u8], from: usize, key: &Range<usize>) -> Option<Range<usize>> {
    let before = bytes.get(from..key.start)?.trim_ascii_end();
    let comma = from.checked_add(before.strip_suffix(b",")?.len())?;
    match of(bytes.get(comma..)?) {
        Member::Null(length) => Some(comma..comma.checked_add(length)?),
        _ => None,
    }
}

/// Returns whether bytes end within what may be such a member.
pub(super) fn ends_within(bytes: &[u8]) -> bool {
    let start = bytes.len().saturating_sub(END_BYTES);
    let end = bytes.get(start..).unwrap_or_default();
    memchr_iter(b',', end).any(|comma| {
        let member = end.get(comma..).unwrap_or_default();
        of(member) == Member::Begun
    })
}

/// Returns what begins with the comma that bytes begin with.
fn of(bytes: &[u8]) -> Member {
    if bytes.starts_with(NULL) {
        return Member::Null(NULL.len());
    }
    let mut rest = bytes;
    for token in [b",".as_slice(), KEY, b":", b"null"] {
        rest = rest.trim_ascii_start();
        match rest.strip_prefix(token) {
            Some(after) => rest = after,
            None if token.starts_with(rest) => return Member::Begun,
            None => return Member::Other,
        }
    }
    Member::Null(bytes.len().saturating_sub(rest.len()))
}
