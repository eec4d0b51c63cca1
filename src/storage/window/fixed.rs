//! A window that ends at once: `at` is its end, `used` what was used in it.

use super::State;

/// `end` is the latest that a window can end: one that ends later was begun by a clock that has
/// since stepped backwards.
pub(super) fn advance(state: State, now: u64, end: u64) -> State {
    if now >= state.at {
        return State::default();
    }
    State {
        at: state.at.min(end),
        ..state
    }
}
