//! Instants and lengths of time, in nanoseconds.
//!
//! All arithmetic saturates: a sum that does not fit is the largest value, a difference below zero is
//! zero.

use std::time::Duration;

/// A length of time in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(u64);

/// An instant, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

// === impl Nanos ===

impl Nanos {
    /// No time.
    pub const ZERO: Self = Self(0);
    /// The longest length: 584 years.
    pub const MAX: Self = Self(u64::MAX);
    /// One millisecond.
    pub const MILLISECOND: Self = Self(1_000_000);
    /// One second.
    pub const SECOND: Self = Self(1_000_000_000);
    /// One minute.
    pub const MINUTE: Self = Self::SECOND.saturating_mul(60);
    /// One hour.
    pub const HOUR: Self = Self::MINUTE.saturating_mul(60);
    /// One day of 24 hours.
    pub const DAY: Self = Self::HOUR.saturating_mul(24);

    /// Returns a length of so many nanoseconds.
    #[must_use]
    pub const fn new(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Returns a length of so many milliseconds.
    #[must_use]
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self::MILLISECOND.saturating_mul(milliseconds)
    }

    /// Returns a length of so many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self::SECOND.saturating_mul(seconds)
    }

    /// Returns the nanoseconds.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Returns the whole seconds, rounded up.
    #[must_use]
    pub const fn as_secs_rounded_up(self) -> u64 {
        self.0.div_ceil(Self::SECOND.0)
    }

    /// Returns the whole milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / Self::MILLISECOND.0
    }

    /// Returns the whole seconds.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / Self::SECOND.0
    }

    /// Returns whether the length is zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Returns the sum of two lengths.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Returns the difference of two lengths.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Returns a multiple of the length.
    #[must_use]
    pub const fn saturating_mul(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

/// A length beyond [`Nanos::MAX`] becomes that.
impl From<Duration> for Nanos {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Nanos> for Duration {
    fn from(nanos: Nanos) -> Self {
        Self::from_nanos(nanos.as_u64())
    }
}

// === impl Timestamp ===

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);
    /// The latest instant, in the year 2554.
    pub const MAX: Self = Self(u64::MAX);

    /// Returns the instant that lies so many nanoseconds after the Unix epoch.
    #[must_use]
    pub const fn new(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Returns the nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Returns the instant that lies a length of time later.
    #[must_use]
    pub const fn saturating_add(self, length: Nanos) -> Self {
        Self(self.0.saturating_add(length.0))
    }

    /// Returns the instant that lies a length of time earlier.
    #[must_use]
    pub const fn saturating_sub(self, length: Nanos) -> Self {
        Self(self.0.saturating_sub(length.0))
    }

    /// Returns the time that has passed since an earlier instant; zero if that one is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests;
