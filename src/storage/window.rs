//! The arithmetic of a limit over time: what counts as used, and when it is forgotten.
//!
//! All functions are pure. A [`State`] that comes from a store is first brought up to date with
//! [`Window::advance`]; everything else works on a state as of `now`. A clock may step: backwards,
//! it neither frees a caller from what he has used nor keeps him waiting for longer than one
//! window from now.

mod fixed;

/// How a window lies in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// From the first hit on, for the window's length; then everything is forgotten at once.
    Fixed,
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
    /// The instant that the amounts refer to: the end of the window.
    pub at: u64,
    /// What was used.
    pub used: u64,
    /// What was used before that and still counts in part. Only some algorithms need it.
    pub previous: u64,
}

// === impl Window ===

impl Window {
    /// The state as of `now`: what has run out by then is gone.
    #[must_use]
    pub fn advance(self, state: State, now: u64) -> State {
        match self.algorithm {
            Algorithm::Fixed => fixed::advance(state, now, self.end(now)),
        }
    }

    /// Whether a clock has written the state that was ahead of this one.
    #[must_use]
    pub fn is_ahead(self, state: State, now: u64) -> bool {
        state.at > self.end(now)
    }

    /// What counts against the limit.
    #[must_use]
    pub fn used(self, state: State) -> u64 {
        match self.algorithm {
            Algorithm::Fixed => state.used,
        }
    }

    /// Uses an amount.
    #[must_use]
    pub fn add(self, state: State, now: u64, amount: u64) -> State {
        match self.algorithm {
            Algorithm::Fixed => fixed::add(state, self.end(now), amount),
        }
    }

    /// When nothing will be used any more, if nothing more is; for an unused counter, the end of a
    /// window that begins now.
    #[must_use]
    pub fn resets_at(self, state: State, now: u64) -> u64 {
        match self.algorithm {
            Algorithm::Fixed => fixed::resets_at(state, self.end(now)),
        }
    }

    /// The first instant at which less than the limit is used, if nothing more is. Where that is
    /// never, because the limit is 0, when the counter resets.
    #[must_use]
    pub fn fits_at(self, state: State, now: u64, limit: u64) -> u64 {
        if self.used(state) < limit {
            return now;
        }
        match self.algorithm {
            Algorithm::Fixed => fixed::resets_at(state, self.end(now)),
        }
    }

    /// The end of a window that a first hit begins, and so the latest end that any has.
    fn end(self, now: u64) -> u64 {
        match self.algorithm {
            Algorithm::Fixed => now.saturating_add(self.length),
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
