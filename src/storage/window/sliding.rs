//! Two windows side by side: `at` is the end of the present one, `used` what was used in it,
//! `previous` what was used in the one before, which counts the less the older the present is.

use super::{State, mul_div, mul_div_up};

/// `end` is the end of the window that `now` lies in. A state of a later window was written by a
/// clock that has since stepped backwards: all of it counts as used in this one.
pub(super) fn advance(state: State, now: u64, end: u64, length: u64) -> State {
    if state.at > end {
        State {
            at: end,
            used: state.used.saturating_add(state.previous),
            previous: 0,
        }
    } else if now < state.at {
        state
    } else if now < state.at.saturating_add(length) {
        State {
            at: end,
            used: 0,
            previous: state.used,
        }
    } else {
        State::default()
    }
}

pub(super) fn used(state: State, now: u64, length: u64) -> u64 {
    let left = state.at.saturating_sub(now);
    state
        .used
        .saturating_add(mul_div_up(state.previous, left, length))
}

pub(super) fn resets_at(state: State, length: u64) -> u64 {
    if state.used > 0 {
        state.at.saturating_add(length)
    } else {
        state.at
    }
}

/// When no more than `most` is used: in this window if enough of the one before is forgotten by
/// its end, else in the next, in which this one is the one before.
pub(super) fn at_most_at(state: State, most: u64, length: u64) -> u64 {
    if let Some(room) = most.checked_sub(state.used) {
        state
            .at
            .saturating_sub(mul_div(room, length, state.previous))
    } else {
        let end = state.at.saturating_add(length);
        end.saturating_sub(mul_div(most, length, state.used))
    }
}
