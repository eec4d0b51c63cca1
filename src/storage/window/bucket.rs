//! A bucket that refills: `used` is what is missing as of `at`, with `previous` as its fraction.
//!
//! What is missing is counted in parts of which the window's length (in nanoseconds) is one, so
//! that a nanosecond refills exactly `limit` parts, and nothing is lost to rounding.

use super::State;

fn missing(state: State, length: u64) -> u128 {
    u128::from(state.used)
        .saturating_mul(length.into())
        .saturating_add(state.previous.into())
}

/// The instant at which so many parts have been refilled.
fn after(at: u64, parts: u128, limit: u64) -> u64 {
    if limit == 0 {
        return u64::MAX;
    }
    let wait = u64::try_from(parts.div_ceil(limit.into())).unwrap_or(u64::MAX);
    at.saturating_add(wait)
}

/// A level that was taken later than `now`, by a clock that has since stepped backwards, is taken
/// as of now.
pub(super) fn advance(state: State, now: u64, limit: u64, length: u64) -> State {
    let elapsed = now.saturating_sub(state.at);
    let refilled = u128::from(elapsed).saturating_mul(limit.into());
    let missing = missing(state, length).saturating_sub(refilled);
    let part = |part: Option<u128>| part.map_or(0, |part| u64::try_from(part).unwrap_or(u64::MAX));
    let (used, previous) = (
        part(missing.checked_div(length.into())),
        part(missing.checked_rem(length.into())),
    );
    if (used, previous) == (0, 0) {
        return State::default();
    }
    State {
        at: now,
        used,
        previous,
    }
}

pub(super) fn used(state: State) -> u64 {
    state.used.saturating_add(u64::from(state.previous > 0))
}

pub(super) fn resets_at(state: State, limit: u64, length: u64) -> u64 {
    after(state.at, missing(state, length), limit)
}

/// When no more than `most` is missing.
pub(super) fn at_most_at(state: State, most: u64, limit: u64, length: u64) -> u64 {
    let most = u128::from(most).saturating_mul(length.into());
    after(state.at, missing(state, length).saturating_sub(most), limit)
}
