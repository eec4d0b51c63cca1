//! The pages that hold counters.
//!
//! Keys of shared data are never removed: a key per counter would be kept for ever. So counters share a
//! fixed number of values, the pages, and a counter's key determines its page. All rates share the
//! pages, and the counters of one caller lie on one page, so that a request reads and writes one value
//! however many rates apply to it. Each rate has room for [`CAPACITY`] counters on a page, so that the
//! counters of one rate do not evict those of another.
//!
//! A counter that has expired makes room. If all counters of a rate on a page are live, the smallest is
//! evicted into the rate's *eviction floor*: one more entry, which reads at least as high as everything
//! that was evicted. A counter that is not on the page begins at the floor, because it may have been
//! evicted, and counts for a whole window from then. This is the space-saving rule: a counter may read
//! too high, never too low. So a flood of keys frees no caller from its usage, and small counters do not
//! evict a big one.
//!
//! The bytes, integers little-endian: "tg", the version, the size of an entry in words of eight bytes;
//! then the entries, in no order.

use crate::counter::Counter;
use crate::rate::{Rate, halves};
use crate::reservation::{Generations, Reservation};
use crate::time::{Nanos, Timestamp};
use crate::window::State;

/// The number of live counters of one rate that a page has room for.
pub(crate) const CAPACITY: usize = 16;

/// The version of the format. It changes whenever the meaning of the bytes does.
pub(crate) const VERSION: u8 = 1;

const WORDS: usize = 11;
const ENTRY: usize = WORDS * 8;
#[expect(clippy::cast_possible_truncation, reason = "the number is 11")]
const HEADER: [u8; 4] = [b't', b'g', VERSION, WORDS as u8];

/// The key of a rate's eviction floor. One hash in 2^128 collides with it.
const FLOOR: u128 = u128::MAX;

/// A page, as the bytes that are stored.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    bytes: Vec<u8>,
    changed: bool,
}

/// The effect of storing a counter on the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// There was room.
    Kept,
    /// A live counter was evicted, the first of its rate while the page has no floor for it.
    Overflowed,
    /// A live counter was evicted.
    Evicted,
}

/// The error for bytes that are not a page of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: u128,
    rate: u64,
    expires: Timestamp,
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
    /// Reads a page from stored bytes. No bytes are an empty page.
    pub(crate) fn read(bytes: Vec<u8>) -> Result<Self, Unreadable> {
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

    /// Returns the bytes to store.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns whether anything was stored since the page was read.
    pub(crate) fn changed(&self) -> bool {
        self.changed
    }

    /// Returns the counter of a reservation as of `now`. One that was written by a clock that was ahead
    /// is corrected on the page as well, or it would be ahead again at the next read.
    pub(crate) fn counter(&mut self, reservation: &Reservation, now: Timestamp) -> Counter {
        let tag = reservation.rate.tag();
        let found = self
            .find(tag, reservation.key)
            .or_else(|| self.find(tag, FLOOR));
        let Some(entry) = found else {
            return Counter::default();
        };
        let counter = entry.counter.advance(reservation, now);
        if entry.counter.is_ahead(reservation, now) {
            let expires = counter.expires(reservation, now);
            self.replace(&Entry {
                expires,
                counter,
                ..entry
            });
        }
        counter
    }

    /// Stores the counter of a reservation.
    pub(crate) fn store(
        &mut self,
        reservation: &Reservation,
        counter: Counter,
        now: Timestamp,
    ) -> Stored {
        let entry = Entry::new(reservation, counter, now);
        if self.replace(&entry) || entry.expires <= now {
            return Stored::Kept;
        }
        // A counter that is not on the page was made from the floor, if there is one.
        let entry = Entry::new(reservation, counter.renewed(reservation, now), now);
        self.retain(|entry| now < entry.expires);
        let stored = if self.counters(entry.rate).count() < CAPACITY {
            Stored::Kept
        } else {
            self.evict(&reservation.rate, now)
        };
        self.push(&entry);
        stored
    }

    /// Evicts the smallest counter of a rate into the rate's floor.
    fn evict(&mut self, rate: &Rate, now: Timestamp) -> Stored {
        let (window, rate) = (rate.window(), rate.tag());
        let size = |entry: &Entry| entry.counter.size(window, now);
        let Some(smallest) = self.counters(rate).min_by_key(size) else {
            return Stored::Kept;
        };
        self.retain(|entry| entry.rate != rate || entry.key != smallest.key);
        let evicted = Entry {
            key: FLOOR,
            ..smallest
        };
        match self.find(rate, FLOOR) {
            None => {
                self.push(&evicted);
                Stored::Overflowed
            }
            Some(floor) => {
                self.replace(&Entry {
                    counter: floor.counter.max(evicted.counter),
                    expires: floor.expires.max(evicted.expires),
                    ..floor
                });
                Stored::Evicted
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

    /// Returns the counters of a rate, without its floor.
    fn counters(&self, rate: u64) -> impl Iterator<Item = Entry> {
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

    /// Overwrites the entry of the same rate and key. Returns whether there is one.
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

/// The words that an entry begins with: its key and its rate.
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
    fn new(reservation: &Reservation, counter: Counter, now: Timestamp) -> Self {
        Self {
            key: reservation.key,
            rate: reservation.rate.tag(),
            expires: counter.expires(reservation, now),
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
            expires: Timestamp::new(next()),
            counter: Counter {
                state: State {
                    at: Timestamp::new(next()),
                    used: next(),
                    previous: next(),
                },
                reserved: Generations {
                    current: next(),
                    previous: next(),
                    until: Timestamp::new(next()),
                    lifetime: Nanos::new(next()),
                },
            },
        }
    }

    fn encode(&self) -> [u64; WORDS] {
        let [low, high] = halves(self.key);
        let Counter { state, reserved } = self.counter;
        [
            low,
            high,
            self.rate,
            self.expires.as_u64(),
            state.at.as_u64(),
            state.used,
            state.previous,
            reserved.current,
            reserved.previous,
            reserved.until.as_u64(),
            reserved.lifetime.as_u64(),
        ]
    }
}
