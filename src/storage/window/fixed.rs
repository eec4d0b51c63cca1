//! A window that begins with the first hit: `at` is its end, `used` what was used in it.

use super::State;

/// `end` is where a window that begins now would end, and the latest that any can: one that ends
/// later was begun by a clock that has since stepped backwards.
pub(super) fn advance(state: State, now: u64, end: u64) -> State {
    if now >= state.at {
        return State::default();
    }
    State {
        at: state.at.min(end),
        ..state
    }
}

pub(super) fn add(state: State, end: u64, amount: u64) -> State {
    State {
        at: resets_at(state, end),
        used: state.used.saturating_add(amount),
        ..state
    }
}

pub(super) fn resets_at(state: State, end: u64) -> u64 {
    if state == State::default() {
        end
    } else {
        state.at
    }
}
