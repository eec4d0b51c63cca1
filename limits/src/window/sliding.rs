//! Two adjacent windows: `at` is the end of the current one, `used` the usage in it, and `previous` the
//! usage in the one before, which counts the less the older the current one is.

use super::state::State;
use crate::time::{Nanos, Timestamp};

/// Moves to the window that ends at `end`, in which `now` lies. A state of a later window was written
/// before the clock stepped backwards: all of its usage counts in this one.
pub(super) fn advance(state: State, now: Timestamp, end: Timestamp, length: Nanos) -> State {
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

/// Takes back what was added to the window that ends when that of `added` does, be it the current one
/// or the one before.
pub(super) fn take_back(state: State, added: State, amount: u64, length: Nanos) -> State {
    let State { at, used, previous } = state;
    if at == added.at {
        State {
            used: used.saturating_sub(amount),
            ..state
        }
    } else if at == added.at.saturating_add(length) {
        State {
            previous: previous.saturating_sub(amount),
            ..state
        }
    } else {
        state
    }
}

/// Takes back so much of what still counts of the previous window.
pub(super) fn credit_previous(state: State, now: Timestamp, amount: u64, length: Nanos) -> State {
    let left = state.at.since(now).as_u64();
    // Rounded down: no more is taken back than asked for.
    let taken = mul_div(amount, length.as_u64(), left);
    let taken = if amount == 0 { 0 } else { taken };
    State {
        previous: state.previous.saturating_sub(taken),
        ..state
    }
}

pub(super) fn used(state: State, now: Timestamp, length: Nanos) -> u64 {
    let left = state.at.since(now).as_u64();
    state
        .used
        .saturating_add(mul_div_up(state.previous, left, length.as_u64()))
}

pub(super) fn resets_at(state: State, length: Nanos) -> Timestamp {
    if state.used > 0 {
        state.at.saturating_add(length)
    } else {
        state.at
    }
}

/// Returns when no more than `most` is used: in this window if enough of the previous one is forgotten
/// by its end, else in the next, in which this one is the previous one.
pub(super) fn at_most_at(state: State, most: u64, length: Nanos) -> Timestamp {
    if let Some(room) = most.checked_sub(state.used) {
        let left = mul_div(room, length.as_u64(), state.previous);
        state.at.saturating_sub(Nanos::new(left))
    } else {
        let end = state.at.saturating_add(length);
        let left = mul_div(most, length.as_u64(), state.used);
        end.saturating_sub(Nanos::new(left))
    }
}

/// Returns `a * b / c`, rounded down and saturated.
fn mul_div(a: u64, b: u64, c: u64) -> u64 {
    let product = u128::from(a).saturating_mul(b.into());
    let quotient = product.checked_div(c.into()).unwrap_or(u128::MAX);
    u64::try_from(quotient).unwrap_or(u64::MAX)
}

/// Returns `a * b / c`, rounded up and saturated.
fn mul_div_up(a: u64, b: u64, c: u64) -> u64 {
    let product = u128::from(a).saturating_mul(b.into());
    if c == 0 {
        return u64::MAX;
    }
    u64::try_from(product.div_ceil(c.into())).unwrap_or(u64::MAX)
}
