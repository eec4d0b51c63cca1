//! The arithmetic of a limit over time: what counts as used, and when that is forgotten.
//!
//! All functions are pure. A [`State`] from a store is first brought up to date with
//! [`Window::advance`]; every other function expects a state as of `now`. If the clock steps backwards,
//! usage stays counted, and a caller waits no longer than if it had used everything just now.
//!
//! Limits are parameters, because they may change and may differ between callers. Only a bucket, which
//! refills at the rate of its limit, needs the limit to know what is used.

mod bucket;
mod calendar;
mod fixed;
mod sliding;
mod state;
#[cfg(test)]
mod tests;

use crate::time::{Nanos, Timestamp};
pub(crate) use state::State;

/// How a window lies in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// From the first hit, for the window's length; then all usage is forgotten at once.
    Fixed,
    /// As [`Algorithm::Fixed`], but between the bounds of the UTC calendar; see
    /// [`Window::follows_calendar`] for the lengths that it has.
    Calendar,
    /// The window's length up to now, estimated from two adjacent windows: the current one in full, and
    /// the previous one in proportion to its overlap, as if its usage were spread evenly.
    Sliding,
    /// A bucket that admits the limit at once, and refills evenly with the limit per window (the
    /// generic cell rate algorithm).
    Bucket,
}

/// How long usage counts against a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// How the window lies in time.
    pub algorithm: Algorithm,
    /// Its length.
    pub length: Nanos,
}

// === impl Window ===

impl Window {
    /// Returns whether the UTC calendar has windows of this length: one that divides a day begins at
    /// midnight, a week (7 days) on Monday, and a month (30 days) on its first day, whatever its
    /// length. Windows of other lengths are multiples since the Unix epoch.
    #[must_use]
    pub fn follows_calendar(self) -> bool {
        calendar::has(self.length)
    }

    /// Returns the state as of `now`, without the usage that has expired.
    pub(crate) fn advance(self, state: State, now: Timestamp, limit: u64) -> State {
        let end = self.end(now);
        match self.algorithm {
            Algorithm::Fixed | Algorithm::Calendar => fixed::advance(state, now, end),
            Algorithm::Sliding => sliding::advance(state, now, end, self.length),
            Algorithm::Bucket => bucket::advance(state, now, limit, self.length),
        }
    }

    /// Returns whether the state was written by a clock that was ahead of this one.
    pub(crate) fn is_ahead(self, state: State, now: Timestamp) -> bool {
        state.at > self.end(now)
    }

    /// Returns what counts against the limit, rounded up.
    pub(crate) fn used(self, state: State, now: Timestamp) -> u64 {
        match self.algorithm {
            Algorithm::Fixed | Algorithm::Calendar => state.used,
            Algorithm::Sliding => sliding::used(state, now, self.length),
            Algorithm::Bucket => bucket::used(state),
        }
    }

    /// Adds usage. The first hit begins a window, even if its amount is 0.
    pub(crate) fn add(self, state: State, now: Timestamp, amount: u64) -> State {
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

    /// Takes back part of what was added, as far as it still counts. `added` is the state right after
    /// the addition; if its window has ended, nothing is taken back. What others have added stays.
    pub(crate) fn take_back(self, state: State, added: State, amount: u64, limit: u64) -> State {
        match self.algorithm {
            Algorithm::Fixed | Algorithm::Calendar => fixed::take_back(state, added, amount),
            Algorithm::Sliding => sliding::take_back(state, added, amount, self.length),
            Algorithm::Bucket => bucket::take_back(state, added, amount, limit, self.length),
        }
    }

    /// Takes back what counts, whenever it was added: as much of the amount as is used. The rest of what is used
    /// counts as before.
    pub(crate) fn credit(self, state: State, now: Timestamp, amount: u64) -> State {
        if amount >= self.used(state, now) {
            return State::default();
        }
        let in_current = amount.min(state.used);
        let state = State {
            used: state.used.saturating_sub(in_current),
            ..state
        };
        match self.algorithm {
            Algorithm::Sliding => {
                let rest = amount.saturating_sub(in_current);
                sliding::credit_previous(state, now, rest, self.length)
            }
            Algorithm::Fixed | Algorithm::Calendar | Algorithm::Bucket => state,
        }
    }

    /// Returns a state with the same usage, which counts for as long as if it were all used now.
    pub(crate) fn renew(self, state: State, now: Timestamp) -> State {
        if state == State::default() {
            return state;
        }
        State {
            at: self.end(now),
            ..state
        }
    }

    /// Returns when nothing is used any more, if nothing is added; for an unused counter, the end of a
    /// window that begins now, or `now` for a bucket.
    pub(crate) fn resets_at(self, state: State, now: Timestamp, limit: u64) -> Timestamp {
        if state == State::default() {
            return self.end(now);
        }
        match self.algorithm {
            Algorithm::Fixed | Algorithm::Calendar => state.at,
            Algorithm::Sliding => sliding::resets_at(state, self.length),
            Algorithm::Bucket => bucket::resets_at(state, limit, self.length),
        }
    }

    /// Returns the first instant at which the limit has so much room, if nothing is added. If that is more than
    /// the limit, it is never, and the result is one window from now.
    pub(crate) fn fits_at(self, state: State, now: Timestamp, limit: u64, room: u64) -> Timestamp {
        let Some(most) = limit.checked_sub(room) else {
            return now.saturating_add(self.length);
        };
        if self.used(state, now) <= most {
            return now;
        }
        let at = match self.algorithm {
            Algorithm::Fixed | Algorithm::Calendar => state.at,
            Algorithm::Sliding => sliding::at_most_at(state, most, self.length),
            Algorithm::Bucket => bucket::at_most_at(state, most, limit, self.length),
        };
        at.max(now)
    }

    /// Returns the end of a window that a first hit begins now, which is the latest end of any window.
    fn end(self, now: Timestamp) -> Timestamp {
        match self.algorithm {
            Algorithm::Fixed => now.saturating_add(self.length),
            Algorithm::Calendar => calendar::end(now, self.length),
            Algorithm::Sliding => calendar::end_of_multiple(now, self.length),
            Algorithm::Bucket => now,
        }
    }
}
