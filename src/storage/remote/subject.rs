//! What is counted together: the limits of an exchange that cost the same, and the values that they
//! are counted by.

use super::message::{Descriptor, Entry, NO_HITS};
use prost::Message;
use std::rc::Rc;

/// What a service is asked about, and settled with. Subjects with the same descriptors in the same
/// domain are the same counters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// Where the limits are known.
    pub domain: Rc<str>,
    /// A hash of the limits, without the values that they are counted by.
    pub limits: u128,
    /// Serialised [`Descriptor`]s.
    pub descriptors: Vec<Vec<u8>>,
}

/// A limit that applies to an exchange, as a service knows it.
#[derive(Clone, Copy, Debug)]
pub struct Limit<'a> {
    /// The key of the entry that stands for the limit; its value is `1`.
    pub key: &'a str,
    /// The texts of the counter expressions, each with its value.
    pub counters: &'a [(Rc<str>, Rc<str>)],
}

/// How the entries of limits are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// All entries in one descriptor, as limitador reads them.
    Together,
    /// A descriptor for each limit, as services need it that look for the entries in order. Where
    /// there are several, one of all entries comes first, for those that read only the first.
    Apart,
}

// === impl Subject ===

impl Subject {
    /// The subject of some limits, which must not be empty.
    #[must_use]
    pub fn new(domain: Rc<str>, limits: &[Limit<'_>], hash: u128, layout: Layout) -> Self {
        let all = descriptor(limits);
        let mut descriptors = vec![all];
        if layout == Layout::Apart && limits.len() > 1 {
            descriptors.extend(limits.iter().map(|limit| descriptor(&[*limit])));
        }
        Self {
            domain,
            limits: hash,
            descriptors,
        }
    }

    /// The descriptors, each made to add nothing.
    #[must_use]
    pub fn without_hits(&self) -> Vec<Vec<u8>> {
        let mut descriptors = self.descriptors.clone();
        for descriptor in &mut descriptors {
            descriptor.extend(NO_HITS);
        }
        descriptors
    }

    /// The position of a limit's own descriptor, where it has one.
    #[must_use]
    pub fn position(&self, limit: usize) -> usize {
        if self.descriptors.len() > 1 {
            limit.saturating_add(1)
        } else {
            0
        }
    }

    /// Bytes that it takes, about.
    #[must_use]
    pub fn size(&self) -> usize {
        let descriptors = self.descriptors.iter();
        descriptors.fold(64, |size, descriptor| size.saturating_add(descriptor.len()))
    }
}

/// The entries of limits as one descriptor. What several limits are counted by stands there once.
fn descriptor(limits: &[Limit<'_>]) -> Vec<u8> {
    let mut entries: Vec<Entry> = Vec::new();
    for limit in limits {
        entries.push(Entry {
            key: limit.key.to_owned(),
            value: "1".to_owned(),
        });
        for (key, value) in limit.counters {
            if entries.iter().all(|entry| *entry.key != **key) {
                entries.push(Entry {
                    key: key.to_string(),
                    value: value.to_string(),
                });
            }
        }
    }
    Descriptor { entries }.encode_to_vec()
}
