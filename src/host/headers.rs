//! A header map as the ABI serialises it, read in place.

use std::borrow::Cow;
use std::ops::Range;

/// The headers of a request or response, in order, duplicates included.
///
/// Names are in lower case, as Envoy keeps them; values are bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    bytes: Vec<u8>,
    entries: Vec<(Range<usize>, Range<usize>)>,
}

// === impl Headers ===

impl Headers {
    /// Reads the ABI's form: a count, the sizes of each name and value, then the names and values,
    /// each followed by a zero byte; all integers are 4 bytes little-endian. What does not follow
    /// from the bytes is left out.
    #[must_use]
    pub fn from_abi(bytes: Vec<u8>) -> Self {
        let entries = entries(&bytes).unwrap_or_default();
        Self { bytes, entries }
    }

    /// Headers from pairs, for tests and replies.
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

    /// How many headers there are, duplicates counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Name and value of each header in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().filter_map(|(name, value)| {
            Some((
                self.bytes.get(name.clone())?,
                self.bytes.get(value.clone())?,
            ))
        })
    }

    /// The first value of a header, by its name in lower case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .find(|(key, _)| *key == name.as_bytes())
            .map(|(_, value)| value)
    }

    /// Every value of a header, by its name in lower case.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |(key, _)| *key == name.as_bytes())
            .map(|(_, value)| value)
    }

    /// The value of a header as text: duplicates joined with `,` (RFC 9110, section 5.3), bytes
    /// that are not UTF-8 replaced.
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

/// Where each name and value stands; `None` when the sizes do not add up.
#[allow(clippy::type_complexity)]
fn entries(bytes: &[u8]) -> Option<Vec<(Range<usize>, Range<usize>)>> {
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
