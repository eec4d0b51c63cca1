//! Summaries of any number of values in bounded memory, with known errors.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

/// The ratio of the bounds of a bucket: a percentile is at most 2 % above the exact one, and never below it.
const RATIO: f64 = 1.02;

/// Percentiles of numbers, each at most 2 % above the exact one.
#[derive(Debug, Clone, Default)]
pub struct Percentiles {
    /// The number of values in each bucket, of which the first has zeros.
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

/// The keys with the largest sums (space-saving): of `n` keys that are kept, a sum is too large by at most the sum of
/// all divided by `n`, and no key with more than that is missing.
#[derive(Debug, Clone)]
pub struct Top<K> {
    capacity: usize,
    counts: HashMap<K, Count>,
    order: BTreeSet<(u64, K)>,
}

/// The sum of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The sum, which is too large by at most `error`.
    pub sum: u64,
    /// By how much the sum can be too large.
    pub error: u64,
}

/// Values by keys that are hashes: of all keys, as long as they fit, then of a uniform sample of them.
#[derive(Debug, Clone)]
pub struct Sample<V> {
    capacity: usize,
    values: HashMap<u128, V>,
    /// A key is kept whose lowest bits, so many, are zero.
    bits: u32,
}

// === impl Percentiles ===

impl Percentiles {
    /// Adds a value.
    pub fn add(&mut self, value: u64) {
        let bucket = bucket(value);
        if bucket >= self.buckets.len() {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        self.max = self.max.max(value);
    }

    /// Returns how many values there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Returns the largest value.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// Returns a value that so many percent of the values do not exceed; 0 without values.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank is a whole number that is not negative"
    )]
    pub fn at(&self, percent: f64) -> u64 {
        let rank = (self.count as f64 * percent / 100.0).ceil().max(1.0) as u64;
        let mut before = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            before += count;
            if before >= rank {
                return bound(bucket).min(self.max);
            }
        }
        self.max
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "logarithms of u64 are small"
)]
fn bucket(value: u64) -> usize {
    match value {
        0 => 0,
        value => {
            let bucket = ((value as f64).ln() / RATIO.ln()).ceil() as usize + 1;
            // The logarithm is rounded.
            if bound(bucket) < value {
                bucket + 1
            } else {
                bucket
            }
        }
    }
}

/// Returns the largest value of a bucket.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "there are few buckets, and casts of doubles saturate"
)]
fn bound(bucket: usize) -> u64 {
    match bucket {
        0 => 0,
        bucket => RATIO.powi(bucket as i32 - 1).floor() as u64,
    }
}

// === impl Top ===

impl<K: Clone + Eq + Hash + Ord> Top<K> {
    /// Returns an empty summary that keeps so many keys.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            counts: HashMap::new(),
            order: BTreeSet::new(),
        }
    }

    /// Adds to the sum of a key. Returns the key that has lost its place.
    pub fn add(&mut self, key: &K, amount: u64) -> Option<K> {
        let mut evicted = None;
        let count = if let Some(count) = self.counts.get_mut(key) {
            self.order.remove(&(count.sum, key.clone()));
            count.sum = count.sum.saturating_add(amount);
            *count
        } else {
            let mut error = 0;
            if self.counts.len() >= self.capacity
                && let Some((sum, smallest)) = self.order.pop_first()
            {
                self.counts.remove(&smallest);
                error = sum;
                evicted = Some(smallest);
            }
            let sum = error.saturating_add(amount);
            let count = Count { sum, error };
            self.counts.insert(key.clone(), count);
            count
        };
        self.order.insert((count.sum, key.clone()));
        evicted
    }

    /// Returns how many keys are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Returns whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Returns the keys with their sums, the largest first.
    pub fn iter(&self) -> impl Iterator<Item = (&K, Count)> {
        let order = self.order.iter().rev();
        order.filter_map(|(_, key)| Some((key, *self.counts.get(key)?)))
    }
}

// === impl Sample ===

impl<V> Sample<V> {
    /// Returns an empty sample of at most so many keys.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            values: HashMap::new(),
            bits: 0,
        }
    }

    /// Returns the value of a key, which is made if it is new; `None` if the key is not in the sample.
    pub fn get(&mut self, key: u128, new: impl FnOnce() -> V) -> Option<&mut V> {
        if !is_kept(key, self.bits) {
            return None;
        }
        while self.values.len() >= self.capacity && !self.values.contains_key(&key) {
            self.bits += 1;
            let bits = self.bits;
            self.values.retain(|key, _| is_kept(*key, bits));
            if !is_kept(key, bits) {
                return None;
            }
        }
        Some(self.values.entry(key).or_insert_with(new))
    }

    /// Returns how many keys there are, of which the sample is a part: the exact number while all are kept.
    #[must_use]
    pub fn total(&self) -> u64 {
        (self.values.len() as u64) << self.bits.min(63)
    }

    /// Returns whether all keys are kept.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.bits == 0
    }

    /// Returns the values.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.values.values()
    }
}

fn is_kept(key: u128, bits: u32) -> bool {
    key.trailing_zeros() >= bits
}
