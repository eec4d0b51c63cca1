//! A header map in the ABI's serialization, read in place.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

/// The headers of a request or response, in order, with duplicates.
///
/// Names are in lower case, as Envoy has them; values are bytes. The ABI's serialization is the only copy of
/// them, and all that is kept: it begins with the sizes of all names and values, so that they are found without
/// an index.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// The serialization; empty where there are no headers.
    bytes: Vec<u8>,
    /// The headers that these replace some of, shared with what reads them unchanged.
    base: Option<Arc<Headers>>,
}

/// An iterator over the names and values of a serialization.
#[derive(Clone, Debug)]
struct Entries<'a> {
    /// The sizes of the names and values that are left.
    sizes: &'a [[u8; 4]],
    /// Their bytes.
    texts: &'a [u8],
}

// === impl Headers ===

impl Headers {
    /// Takes the ABI's serialization: a count, the sizes of each name and value, then the names and
    /// values, each followed by a zero byte; all integers are 4 bytes little-endian. Bytes that are no
    /// such serialization make no headers.
    #[must_use]
    pub fn from_abi(bytes: Vec<u8>) -> Self {
        if !is_serialization(&bytes) {
            return Self::default();
        }
        Self { bytes, base: None }
    }

    /// Returns headers of these names and values.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let pairs: Vec<(&str, &[u8])> = pairs.into_iter().collect();
        Self::from_abi(serialize(&pairs))
    }

    /// Returns these headers with some of them set, each replacing every value that it has. Names are in
    /// lower case, and each is there once. What is not set is shared.
    #[must_use]
    pub(crate) fn with(self: &Arc<Self>, set: &[(&str, &[u8])]) -> Self {
        let is_set = |name: &[u8]| set.iter().any(|(known, _)| known.as_bytes() == name);
        let set = set.iter().map(|(name, value)| (name.as_bytes(), *value));
        let (base, pairs) = match &self.base {
            None => (self, set.collect::<Vec<_>>()),
            Some(base) => {
                let kept = self.own().filter(|(name, _)| !is_set(name));
                (base, kept.chain(set).collect())
            }
        };
        Self {
            bytes: serialize(&pairs),
            base: Some(Arc::clone(base)),
        }
    }

    /// Returns the number of headers, duplicates included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Returns how many headers are searched for one: at least [`Headers::len`], and found at once.
    #[must_use]
    pub(crate) fn searched(&self) -> usize {
        let base = self.base.as_deref().map_or(0, Self::searched);
        base.saturating_add(self.own().sizes.len() / 2)
    }

    /// Returns whether there are no headers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Returns an iterator over the names and values, in order; what replaces others comes last.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let base = self.base.as_deref().map(Self::own);
        let is_replaced = |name: &[u8]| self.own().any(|(known, _)| known == name);
        let rest = base.into_iter().flatten();
        rest.filter(move |(name, _)| !is_replaced(name))
            .chain(self.own())
    }

    fn own(&self) -> Entries<'_> {
        Entries::of(&self.bytes)
    }

    /// Returns the first value of a header, by its name in lower case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// Returns an iterator over the values of a header, by its name in lower case.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let is_it = |(known, _): &(&[u8], &[u8])| *known == name.as_bytes();
        let entries = match &self.base {
            Some(base) if !self.own().any(|entry| is_it(&entry)) => base.own(),
            _ => self.own(),
        };
        entries.filter(is_it).map(|(_, value)| value)
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

// === impl Entries ===

impl<'a> Entries<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self::parse(bytes).unwrap_or(Self {
            sizes: &[],
            texts: &[],
        })
    }

    /// Splits the sizes from the texts; `None` if there are fewer bytes than the sizes take.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk()?;
        let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
        let (sizes, texts) = rest.split_at_checked(count.checked_mul(8)?)?;
        let (sizes, _) = sizes.as_chunks();
        Some(Self { sizes, texts })
    }

    /// Takes the next text, and the zero byte after it.
    fn text(&mut self) -> Option<&'a [u8]> {
        let (size, sizes) = self.sizes.split_first()?;
        let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
        let (text, rest) = self.texts.split_at_checked(size)?;
        let (_, texts) = rest.split_first()?;
        (self.sizes, self.texts) = (sizes, texts);
        Some(text)
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.text()?, self.text()?))
    }
}

/// Returns whether bytes are a serialization: its sizes add up.
fn is_serialization(bytes: &[u8]) -> bool {
    Entries::parse(bytes).is_some_and(|mut entries| {
        while entries.text().is_some() {}
        entries.sizes.is_empty()
    })
}

/// Returns header maps in the ABI's serialization: see [`Headers::from_abi`].
pub(super) fn serialize(pairs: &[(impl AsRef<[u8]>, impl AsRef<[u8]>)]) -> Vec<u8> {
    let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
    let sizes = pairs
        .iter()
        .map(|(name, value)| name.as_ref().len().saturating_add(value.as_ref().len()));
    let size = sizes.fold(4, |size: usize, texts| {
        size.saturating_add(texts).saturating_add(10)
    });
    let mut bytes = Vec::with_capacity(size);
    bytes.extend(word(pairs.len()));
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
