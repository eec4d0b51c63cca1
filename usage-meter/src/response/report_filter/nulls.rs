//! The member `"usage":null`, which every chunk has where a report is requested.

use memchr::{memchr_iter, memmem};

const KEY: &[u8] = b"\"usage\"";

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
    next(bytes, 0).is_some()
}

/// Returns the bytes without such members; `None` if they have none.
///
/// A key differs from text, whatever surrounds it: a quote after a comma that ended a string would be followed by
/// punctuation, and one within a string is escaped.
pub(super) fn without(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut rest = Vec::new();
    let mut from = 0_usize;
    while let Some((start, end)) = next(bytes, from) {
        rest.extend_from_slice(bytes.get(from..start)?);
        from = end;
    }
    if from == 0 {
        return None;
    }
    rest.extend_from_slice(bytes.get(from..)?);
    Some(rest)
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

/// Returns where the next such member begins, with its comma, and where it ends.
fn next(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut at = from;
    loop {
        let key = at.checked_add(memmem::find(bytes.get(at..)?, KEY)?)?;
        at = key.checked_add(KEY.len())?;
        let before = bytes.get(from..key)?.trim_ascii_end();
        if let Some(before) = before.strip_suffix(b",") {
            let comma = from.checked_add(before.len())?;
            if let Member::Null(length) = of(bytes.get(comma..)?) {
                return Some((comma, comma.checked_add(length)?));
            }
        }
    }
}

/// Returns what begins with the comma that bytes begin with.
fn of(bytes: &[u8]) -> Member {
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
