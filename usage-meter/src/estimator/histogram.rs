//! Quantiles of a stream of numbers, in bounded memory.

#[cfg(test)]
mod tests;

/// Each power of two is divided into this number of buckets, so that a bucket is at most an eighth wider
/// than its lower bound.
const BUCKETS_PER_OCTAVE: usize = 8;

/// The binary logarithm of [`BUCKETS_PER_OCTAVE`].
const PRECISION_BITS: u32 = 3;

/// The number of buckets: numbers up to [`MAX_VALUE`] have one of their own.
const BUCKETS: usize = 21 * BUCKETS_PER_OCTAVE;

/// The largest number; larger ones count as this.
pub(super) const MAX_VALUE: u64 = (1 << 21) - 1;

/// A histogram with buckets of exponential width, whose counts are halved when they exceed a total, so that
/// later numbers have more weight.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: [u32; BUCKETS],
    /// The sum of the counts.
    total: u32,
    /// The total beyond which the counts are halved.
    max_total: u32,
}

/// The bounds of a bucket, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    pub(super) min: u64,
    pub(super) max: u64,
}

// === impl Histogram ===

impl Histogram {
    /// Returns an empty histogram whose counts are halved when they exceed `max_total`.
    pub(super) const fn new(max_total: u32) -> Self {
        Self {
            counts: [0; BUCKETS],
            total: 0,
            max_total,
        }
    }

    /// Adds a number with a weight.
    #[cold]
    pub(super) fn add(&mut self, value: u64, weight: u32) {
        if let Some(count) = self.counts.get_mut(Bucket::index(value)) {
            *count = count.saturating_add(weight);
            self.total = self.total.saturating_add(weight);
        }
        if self.total > self.max_total {
            for count in &mut self.counts {
                *count >>= 1;
            }
            self.total = self.counts.iter().sum();
        }
    }

    /// Returns the bucket that has the quantile: that part, in hundredths, of the numbers are in it or in
    /// lower ones. `None` if there are no numbers.
    #[cold]
    pub(super) fn quantile(&self, hundredths: u32) -> Option<Bucket> {
        let total = u64::from(self.total);
        let wanted = total.saturating_mul(hundredths.into()).div_ceil(100).max(1);
        let mut seen = 0_u64;
        let index = self.counts.iter().position(|count| {
            seen = seen.saturating_add(u64::from(*count));
            seen >= wanted
        })?;
        Some(Bucket::at(index))
    }
}

// === impl Bucket ===

impl Bucket {
    /// Returns the index of the bucket of a number.
    fn index(value: u64) -> usize {
        let value = value.clamp(1, MAX_VALUE);
        let octave = value.ilog2();
        // The bits after the first.
        let fraction =
            (value << PRECISION_BITS >> octave) & (BUCKETS_PER_OCTAVE as u64).saturating_sub(1);
        let index = (u64::from(octave) << PRECISION_BITS) | fraction;
        usize::try_from(index).unwrap_or_default()
    }

    /// Returns the bucket of an index.
    fn at(index: usize) -> Self {
        let begin = |index: usize| {
            let octave = index >> PRECISION_BITS;
            let fraction = index & BUCKETS_PER_OCTAVE.saturating_sub(1);
            let mantissa = (BUCKETS_PER_OCTAVE | fraction) as u64;
            // Rounded up: narrow buckets may have no whole number.
            (mantissa << octave).div_ceil(BUCKETS_PER_OCTAVE as u64)
        };
        let min = begin(index);
        let max = begin(index.saturating_add(1)).saturating_sub(1);
        Self {
            min,
            max: max.max(min),
        }
    }
}
