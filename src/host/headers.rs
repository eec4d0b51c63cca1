//! A header map in the ABI's serialization, read in place.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;

/// The headers of a request or response, in order, with duplicates.
///
/// Names are in lower case, as Envoy has them; values are bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

/// The ranges of a name and of its value.
type Entry = (Range<usize>, Range<usize>);

// === impl Headers ===

impl Headers {
    /// Parses the ABI's serialization: a count, the sizes of each name and value, then the names and
    /// values, each followed by a zero byte; all integers are 4 bytes little-endian. Bytes that are no
    /// such serialization make no headers.
    #[must_use]
    pub fn from_abi(bytes: Vec<u8>) -> Self {
        let entries = entries(&bytes).unwrap_or_default();
        Self { bytes, entries }
    }

    /// Returns headers of these names and values.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut headers = Self::default();
        for (name, value) in pairs {
            headers.add(name, value);
        }
        headers
    }

    /// Sets a header, by its name in lower case, replacing every value it has.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        let bytes = &self.bytes;
        let is_other = |key: Range<usize>| bytes.get(key) != Some(name.as_bytes());
        self.entries.retain(|(key, _)| is_other(key.clone()));
        self.add(name, value);
    }

    fn add(&mut self, name: &str, value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name.as_bytes());
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(value);
        let end = self.bytes.len();
        self.entries.push((start..middle, middle..end));
    }

    /// Returns the number of headers, duplicates included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are no headers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns an iterator over the names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().filter_map(|(name, value)| {
            Some((
                self.bytes.get(name.clone())?,
                self.bytes.get(value.clone())?,
            ))
        })
    }

    /// Returns the first value of a header, by its name in lower case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .find(|(key, _)| *key == name.as_bytes())
            .map(|(_, value)| value)
    }

    /// Returns an iterator over the values of a header, by its name in lower case.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |(key, _)| *key == name.as_bytes())
            .map(|(_, value)| value)
    }

    /// Returns the value of a header as text: duplicates are joined with `,` (RFC 9110, section 5.3),
    /// bytes that are not UTF-8 replaced.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        let mut values = self.all(name);
        let first = values.next()?;
        let Some(second) = values.next() else {
            return Some(String::from_utf8_lossy(first));
        };
        let mut joined = first.to_vec();
        for value in std::iter::once(second).chain(values) {
            joined.push(b',');
            joined.extend_from_slice(value);
        }
        Some(Cow::Owned(String::from_utf8_lossy(&joined).into_owned()))
    }
}

/// Returns the ranges of each name and value; `None` when the sizes do not add up.
fn entries(bytes: &[u8]) -> Option<Vec<Entry>> {
    let word = |at: usize| -> Option<usize> {
        let four = bytes.get(at..at.checked_add(4)?)?;
        usize::try_from(u32::from_le_bytes(four.try_into().ok()?)).ok()
    };
    let count = word(0)?;
    let mut at = count.checked_mul(8)?.checked_add(4)?;
    if at > bytes.len() {
        return None;
    }
    let mut entries = Vec::with_capacity(count);
    for index in 0..count {
        let sizes = index.checked_mul(8)?.checked_add(4)?;
        let name_end = at.checked_add(word(sizes)?)?;
        let value = name_end.checked_add(1)?;
        let value_end = value.checked_add(word(sizes.checked_add(4)?)?)?;
        if value_end >= bytes.len() {
            return None;
        }
        entries.push((at..name_end, value..value_end));
        at = value_end.checked_add(1)?;
    }
    Some(entries)
}

/// Returns header maps in the ABI's serialization: see [`Headers::from_abi`].
#[cfg(any(test, target_arch = "wasm32"))]
pub(super) fn serialize(pairs: &[(impl AsRef<[u8]>, impl AsRef<[u8]>)]) -> Vec<u8> {
    let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = word(pairs.len()).to_vec();
    for (name, value) in pairs {
        bytes.extend(word(name.as_ref().len()));
        bytes.extend(word(value.as_ref().len()));
    }
    for (name, value) in pairs {
        bytes.extend(name.as_ref());
        bytes.push(0);
        bytes.extend(value.as_ref());
        bytes.push(0);
    }
    bytes
}

/// Returns whether bytes are a valid header value: visible ASCII, space, tab, and bytes from 0x80 on
/// (RFC 9110, section 5.5). Envoy does not check the headers of a local reply.
#[must_use]
pub(crate) fn is_header_value(value: &[u8]) -> bool {
    value
        .iter()
        .all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}
