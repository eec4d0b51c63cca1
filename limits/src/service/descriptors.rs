//! What is counted together: the limits of an exchange that cost the same, and the values that they
//! count by.

use super::message::{Descriptor, Entry, NO_HITS};
use prost::Message;
use std::rc::Rc;

/// The counters that a service is asked about and settled with. Sets with the same descriptors in the
/// same domain are the same counters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DescriptorSet {
    /// The domain, or namespace, of the limits.
    pub domain: Rc<str>,
    /// A hash of the limits, without the values that they count by.
    pub limits: u128,
    /// The serialized [`Descriptor`]s.
    pub descriptors: Vec<Vec<u8>>,
}

/// A limit that applies to an exchange, as a service knows it.
#[derive(Clone, Copy, Debug)]
pub struct LimitEntries<'a> {
    /// The key of the entry that stands for the limit; its value is `1`.
    pub key: &'a str,
    /// The counter expressions, each with its value.
    pub counters: &'a [(Rc<str>, Rc<str>)],
}

/// How the entries of limits are distributed over descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// All entries in one descriptor, as limitador reads them.
    Single,
    /// A descriptor for each limit, for services that match the entries in order. If there are several
    /// limits, one of all entries comes first, for services that read only the first.
    PerLimit,
}

// === impl DescriptorSet ===

impl DescriptorSet {
    /// Returns the set of some limits, of which there must be at least one.
    #[must_use]
    pub fn new(domain: Rc<str>, limits: &[LimitEntries<'_>], hash: u128, layout: Layout) -> Self {
        let mut descriptors = vec![descriptor(limits)];
        if layout == Layout::PerLimit && limits.len() > 1 {
            descriptors.extend(limits.iter().map(|limit| descriptor(&[*limit])));
        }
        Self {
            domain,
            limits: hash,
            descriptors,
        }
    }

    /// Returns the descriptors, each made to add nothing.
    pub(super) fn without_hits(&self) -> Vec<Vec<u8>> {
        let mut descriptors = self.descriptors.clone();
        for descriptor in &mut descriptors {
            descriptor.extend(NO_HITS);
        }
        descriptors
    }

    /// Returns the approximate size in bytes.
    pub(super) fn size(&self) -> usize {
        let descriptors = self.descriptors.iter();
        descriptors.fold(64, |size, descriptor| size.saturating_add(descriptor.len()))
    }
}

/// Returns the entries of limits as one descriptor. What several limits count by appears once.
fn descriptor(limits: &[LimitEntries<'_>]) -> Vec<u8> {
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
