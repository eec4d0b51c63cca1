//! A window that ends at once: `at` is its end, `used` the usage in it.

use super::state::State;
use crate::time::Timestamp;

/// Forgets a window that has ended. `end` is the latest end that a window can have: one that ends later
/// was begun before the clock stepped backwards.
pub(super) fn advance(state: State, now: Timestamp, end: Timestamp) -> State {
    if now >= state.at {
        return State::default();
    }
    State {
        at: state.at.min(end),
        ..state
    }
}

/// Takes back what was added to the window that ends when that of `added` does.
pub(super) fn take_back(state: State, added: State, amount: u64) -> State {
    if state.at != added.at {
        return state;
    }
    State {
        used: state.used.saturating_sub(amount),
        ..state
    }
}
