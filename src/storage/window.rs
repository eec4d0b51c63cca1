//! The arithmetic of a limit over time: what counts as used, and when it is forgotten.
//!
//! All functions are pure. A [`State`] that comes from a store is first brought up to date with
//! [`Window::advance`]; everything else works on a state as of `now`. Time is in nanoseconds since
//! the Unix epoch. A clock may step: backwards, it neither frees a caller from what he has used nor
//! keeps him waiting for longer than if he had used it all just now.
//!
//! Limits are passed in because they may change, and may differ between callers; only a bucket,
//! which refills at the speed of its limit, needs them to know what is used.

mod bucket;
mod calendar;
mod fixed;
mod sliding;
#[cfg(test)]
mod tests;

/// How a window lies in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// From the first hit on, for the window's length; then everything is forgotten at once.
    Fixed,
    /// As [`Algorithm::Fixed`], from and to the bounds of the UTC calendar; see
    /// [`Window::follows_calendar`] for the lengths it has.
    Calendar,
    /// The last window's length up to now, estimated from two windows side by side: the present one
    /// in full, the one before as far as the last window's length reaches into it, as if what was
    /// used in it were spread evenly.
    Sliding,
    /// A bucket that takes the limit at once, and refills evenly with the limit in the window's
    /// length (the generic cell rate algorithm).
    Bucket,
}

/// How long what is used counts against a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// How it lies in time.
    pub algorithm: Algorithm,
    /// Its length in nanoseconds.
    pub length: u64,
}

/// What has been used, as an algorithm needs to know it. The default has nothing used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The instant that the amounts refer to: the end of the window or, for a bucket, when its
    /// level was taken.
    pub at: u64,
    /// What was used in the window, or is missing from the bucket.
    pub used: u64,
    /// What was used in the window before this one, of a sliding one. For a bucket, what is
    /// missing beyond `used`, less than one, in parts of which the window's length is one.
    pub previous: u64,
}

// === impl Window ===

impl Window {
    /// The state as of `now`: what has run out by then is gone.
    #[must_use]
    pub fn advance(self, state: State, now: u64, limit: u64) -> State {
        let end = self.end(now);
        match self.algorithm {
            Algorithm::Fixed | Algorithm::Calendar => fixed::advance(state, now, end),
            Algorithm::Sliding => sliding::advance(state, now, end, self.length),
            Algorithm::Bucket => bucket::advance(state, now, limit, self.length),
        }
    }

    /// Whether a clock has written the state that was ahead of this one.
    #[must_use]
    pub fn is_ahead(self, state: State, now: u64) -> bool {
        state.at > self.end(now)
    }

    /// What counts against the limit; fractions are rounded up.
    #[must_use]
    pub fn used(self, state: State, now: u64) -> u64 {
        match self.algorithm {
            Algorithm::Fixed | Algorithm::Calendar => state.used,
            Algorithm::Sliding => sliding::used(state, now, self.length),
            Algorithm::Bucket => bucket::used(state),
        }
    }

    /// Uses an amount. The first hit begins a window, even with an amount of 0.
    #[must_use]
    pub fn add(self, state: State, now: u64, amount: u64) -> State {
        State {
            at: if state == State::default() {
                self.end(now)
            } else {
                state.at
            },
            used: state.used.saturating_add(amount),
            ..state
        }
    }

    /// The same, but counting for as long as if it were all used now.
    #[must_use]
    pub fn renew(self, state: State, now: u64) -> State {
        if state == State::default() {
            return state;
        }
        State {
            at: self.end(now),
            ..state
        }
    }

    /// When nothing will be used any more, if nothing more is; for an unused counter, the end of a
    /// window that begins now, or `now` for a bucket.
    #[must_use]
    pub fn resets_at(self, state: State, now: u64, limit: u64) -> u64 {
        if state == State::default() {
            return self.end(now);
        }
        match self.algorithm {
            Algorithm::Fixed | Algorithm::Calendar => state.at,
            Algorithm::Sliding => sliding::resets_at(state, self.length),
            Algorithm::Bucket => bucket::resets_at(state, limit, self.length),
        }
    }

    /// The first instant at which less than the limit is used, if nothing more is. Where that is
    /// never, because the limit is 0, one window from now.
    #[must_use]
    pub fn fits_at(self, state: State, now: u64, limit: u64) -> u64 {
        if self.used(state, now) < limit {
            return now;
        }
        let Some(most) = limit.checked_sub(1) else {
            return now.saturating_add(self.length);
        };
        let at = match self.algorithm {
            Algorithm::Fixed | Algorithm::Calendar => state.at,
            Algorithm::Sliding => sliding::at_most_at(state, most, self.length),
            Algorithm::Bucket => bucket::at_most_at(state, most, limit, self.length),
        };
        at.max(now)
    }

    /// Whether the UTC calendar has windows of this length: whatever divides a day begins at
    /// midnight, a week (7 days) on Monday, and a month (30 days) on its first day, however long it
    /// is. Other lengths are aligned to the epoch, which is of little use to anybody.
    #[must_use]
    pub fn follows_calendar(self) -> bool {
        calendar::has(self.length)
    }

    /// The end of a window that a first hit begins, and so the latest end that any has.
    fn end(self, now: u64) -> u64 {
        match self.algorithm {
            Algorithm::Fixed => now.saturating_add(self.length),
            Algorithm::Calendar => calendar::end(now, self.length),
            Algorithm::Sliding => calendar::end_of_multiple(now, self.length),
            Algorithm::Bucket => now,
        }
    }
}

// === impl State ===

impl State {
    /// A state that has used at least as much as either, for as long as either.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            at: self.at.max(other.at),
            used: self.used.max(other.used),
            previous: self.previous.max(other.previous),
        }
    }
}

/// `a * b / c`, rounded down; the largest number where that has no place.
fn mul_div(a: u64, b: u64, c: u64) -> u64 {
    let product = u128::from(a).saturating_mul(b.into());
    let quotient = product.checked_div(c.into()).unwrap_or(u128::MAX);
    u64::try_from(quotient).unwrap_or(u64::MAX)
}

/// `a * b / c`, rounded up; the largest number where that has no place.
fn mul_div_up(a: u64, b: u64, c: u64) -> u64 {
    let product = u128::from(a).saturating_mul(b.into());
    if c == 0 {
        return u64::MAX;
    }
    u64::try_from(product.div_ceil(c.into())).unwrap_or(u64::MAX)
}
