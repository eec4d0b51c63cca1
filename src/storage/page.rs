//! The pages that counters are kept in.
//!
//! Envoy's shared data can be overwritten but not deleted: a key for every counter would be kept
//! for ever. So counters share a fixed number of values, the pages; where one belongs follows from
//! its key. All rates share the pages, and counters of one caller lie on one page, so that a
//! request reads and writes one value however many rates apply to it. Each rate has room for
//! [`CAPACITY`] counters on a page: one rate's crowd does not push out another's counters.
//!
//! A counter that has expired makes room. If all of a rate's counters on a page are live, the
//! smallest is pushed out into the *floor* of that rate: one more entry, which reads at least as
//! high as everything pushed out. A counter that is not on the page begins at the floor, as it may
//! have been pushed out, and counts for a whole window from then. This is the space-saving rule: a
//! counter may read too high, never too low, so nobody gets rid of what he has used by a flood of
//! other keys; and a big counter is not pushed out by small ones.
//!
//! The bytes, integers little-endian: "tg", the version, the size of an entry in words of eight
//! bytes; then the entries, in no order.

use super::counter::Counter;
use super::holds::Holds;
use super::window::State;
use super::{Claim, Rate, halves};

/// How many live counters of one rate a page has room for.
pub(super) const CAPACITY: usize = 16;

/// Changes whenever the meaning of the bytes does.
pub(super) const VERSION: u8 = 1;

const WORDS: usize = 11;
const ENTRY: usize = WORDS * 8;
#[allow(clippy::cast_possible_truncation)] // It is 11.
const HEADER: [u8; 4] = [b't', b'g', VERSION, WORDS as u8];

/// The key of a rate's floor. No caller has it, but for one hash in 2^128.
const FLOOR: u128 = u128::MAX;

/// A page, in the bytes that are stored.
#[derive(Clone, Debug)]
pub(super) struct Page {
    bytes: Vec<u8>,
    changed: bool,
}

/// What storing a counter has met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// There was room.
    Kept,
    /// A live counter was pushed out, the first since nothing is on the rate's floor.
    Overflowed,
    /// A live counter was pushed out.
    PushedOut,
}

/// Bytes that are not a page of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: u128,
    rate: u64,
    expires: u64,
    counter: Counter,
}

// === impl Page ===

impl Default for Page {
    fn default() -> Self {
        Self {
            bytes: HEADER.to_vec(),
            changed: false,
        }
    }
}

impl Page {
    /// A page from stored bytes. No bytes are an empty page.
    pub(super) fn read(bytes: Vec<u8>) -> Result<Self, Unreadable> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        match bytes.strip_prefix(&HEADER) {
            Some(entries) if entries.as_chunks::<ENTRY>().1.is_empty() => Ok(Self {
                bytes,
                changed: false,
            }),
            _ => Err(Unreadable),
        }
    }

    /// The bytes to store.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether anything was stored since the page was read.
    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    /// The counter of a claim as of `now`. One that a clock ahead of its time has written is
    /// brought back on the page as well, or it would be ahead again at every look.
    pub(super) fn counter(&mut self, claim: &Claim<'_>, now: u64) -> Counter {
        let found = self
            .find(claim.rate.tag, claim.key)
            .or_else(|| self.find(claim.rate.tag, FLOOR));
        let Some(entry) = found else {
            return Counter::default();
        };
        let counter = entry.counter.advance(claim, now);
        if entry.counter.is_ahead(claim, now) {
            let expires = counter.expires(claim, now);
            self.replace(&Entry {
                expires,
                counter,
                ..entry
            });
        }
        counter
    }

    /// Stores the counter of a claim.
    pub(super) fn store(&mut self, claim: &Claim<'_>, counter: Counter, now: u64) -> Stored {
        let entry = Entry::new(claim, counter, now);
        if self.replace(&entry) || entry.expires <= now {
            return Stored::Kept;
        }
        // What is not on the page was made from the floor, if there is one.
        let entry = Entry::new(claim, counter.renewed(claim, now), now);
        self.retain(|entry| now < entry.expires);
        let stored = if self.crowd(entry.rate).count() < CAPACITY {
            Stored::Kept
        } else {
            self.push_out(claim.rate, now)
        };
        self.push(&entry);
        stored
    }

    /// Pushes the smallest of a rate's counters out into the floor.
    fn push_out(&mut self, rate: &Rate, now: u64) -> Stored {
        let Rate { tag: rate, window } = *rate;
        let size = |entry: &Entry| entry.counter.size(window, now);
        let Some(smallest) = self.crowd(rate).min_by_key(size) else {
            return Stored::Kept;
        };
        self.retain(|entry| entry.rate != rate || entry.key != smallest.key);
        let pushed = Entry {
            key: FLOOR,
            ..smallest
        };
        match self.find(rate, FLOOR) {
            None => {
                self.push(&pushed);
                Stored::Overflowed
            }
            Some(floor) => {
                self.replace(&Entry {
                    counter: floor.counter.max(pushed.counter),
                    expires: floor.expires.max(pushed.expires),
                    ..floor
                });
                Stored::PushedOut
            }
        }
    }

    fn stored(&self) -> &[[u8; ENTRY]] {
        let entries = self.bytes.get(HEADER.len()..).unwrap_or_default();
        entries.as_chunks().0
    }

    fn entries(&self) -> impl Iterator<Item = Entry> {
        self.stored().iter().map(Entry::decode)
    }

    /// A rate's counters without its floor.
    fn crowd(&self, rate: u64) -> impl Iterator<Item = Entry> {
        self.entries()
            .filter(move |entry| entry.rate == rate && entry.key != FLOOR)
    }

    fn find(&self, rate: u64, key: u128) -> Option<Entry> {
        let prefix = prefix(rate, key);
        let mut entries = self.stored().iter();
        entries.find(|entry| has(entry, &prefix)).map(Entry::decode)
    }

    fn push(&mut self, entry: &Entry) {
        self.changed = true;
        for word in entry.encode() {
            self.bytes.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// Overwrites the entry of the same rate and key, if there is one.
    fn replace(&mut self, entry: &Entry) -> bool {
        let prefix = prefix(entry.rate, entry.key);
        let entries = self.bytes.get_mut(HEADER.len()..).unwrap_or_default();
        let mut slots = entries.as_chunks_mut::<ENTRY>().0.iter_mut();
        let slot = slots.find(|slot| has(slot, &prefix));
        let Some(slot) = slot else {
            return false;
        };
        for (bytes, word) in slot.as_chunks_mut().0.iter_mut().zip(entry.encode()) {
            *bytes = word.to_le_bytes();
        }
        self.changed = true;
        true
    }

    fn retain(&mut self, keep: impl Fn(&Entry) -> bool) {
        if self.entries().all(|entry| keep(&entry)) {
            return;
        }
        let kept: Vec<Entry> = self.entries().filter(keep).collect();
        self.bytes.truncate(HEADER.len());
        for entry in &kept {
            self.push(entry);
        }
    }
}

/// The words that an entry begins with.
type Prefix = [[u8; 8]; 3];

fn prefix(rate: u64, key: u128) -> Prefix {
    let [low, high] = halves(key);
    [low, high, rate].map(u64::to_le_bytes)
}

fn has(entry: &[u8; ENTRY], prefix: &Prefix) -> bool {
    entry.as_chunks().0.first_chunk() == Some(prefix)
}

// === impl Entry ===

impl Entry {
    fn new(claim: &Claim<'_>, counter: Counter, now: u64) -> Self {
        Self {
            key: claim.key,
            rate: claim.rate.tag,
            expires: counter.expires(claim, now),
            counter,
        }
    }

    fn decode(bytes: &[u8; ENTRY]) -> Self {
        let mut words = bytes
            .as_chunks()
            .0
            .iter()
            .map(|word| u64::from_le_bytes(*word));
        let mut next = || words.next().unwrap_or_default();
        Self {
            key: u128::from(next()) | u128::from(next()) << 64,
            rate: next(),
            expires: next(),
            counter: Counter {
                state: State {
                    at: next(),
                    used: next(),
                    previous: next(),
                },
                holds: Holds {
                    current: next(),
                    previous: next(),
                    until: next(),
                    lifetime: next(),
                },
            },
        }
    }

    fn encode(&self) -> [u64; WORDS] {
        let [low, high] = halves(self.key);
        let Counter { state, holds } = self.counter;
        [
            low,
            high,
            self.rate,
            self.expires,
            state.at,
            state.used,
            state.previous,
            holds.current,
            holds.previous,
            holds.until,
            holds.lifetime,
        ]
    }
}
