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
