//! A bucket that refills: `used` is what is missing as of `at`, with `previous` as its fraction.
//!
//! What is missing is counted in parts, of which one unit has as many as the window has nanoseconds.
//! One nanosecond then refills exactly `limit` parts, and nothing is lost to rounding.

use super::state::State;
use crate::time::{Nanos, Timestamp};

/// Returns the missing parts.
fn missing(state: State, length: Nanos) -> u128 {
    u128::from(state.used)
        .saturating_mul(length.as_u64().into())
        .saturating_add(state.previous.into())
}

/// Returns the instant at which so many parts have been refilled.
fn after(at: Timestamp, parts: u128, limit: u64) -> Timestamp {
    if limit == 0 {
        return Timestamp::MAX;
    }
    let wait = u64::try_from(parts.div_ceil(limit.into())).unwrap_or(u64::MAX);
    at.saturating_add(Nanos::new(wait))
}

/// Refills the bucket. A level of later than `now`, computed before a clock stepped backwards, is taken
/// as of now.
pub(super) fn advance(state: State, now: Timestamp, limit: u64, length: Nanos) -> State {
    let elapsed = now.since(state.at).as_u64();
    let refilled = u128::from(elapsed).saturating_mul(limit.into());
    let missing = missing(state, length).saturating_sub(refilled);
    with_missing(missing, now, length)
}

/// Returns the state of a bucket in which this number of parts is missing.
fn with_missing(missing: u128, at: Timestamp, length: Nanos) -> State {
    let part = |part: Option<u128>| part.map_or(0, |part| u64::try_from(part).unwrap_or(u64::MAX));
    let length = u128::from(length.as_u64());
    let (used, previous) = (
        part(missing.checked_div(length)),
        part(missing.checked_rem(length)),
    );
    if (used, previous) == (0, 0) {
        return State::default();
    }
    State { at, used, previous }
}

/// Takes back what was added when the bucket was as in `added`.
///
/// Without the amount, the bucket may have been full for some of the time since, and would not have
/// refilled meanwhile. That much of the amount is refilled already and stays; what was added since
/// could only have made it less.
pub(super) fn take_back(
    state: State,
    added: State,
    amount: u64,
    limit: u64,
    length: Nanos,
) -> State {
    let parts = u128::from(amount).saturating_mul(length.as_u64().into());
    let without = missing(added, length).saturating_sub(parts);
    let elapsed = state.at.since(added.at).as_u64();
    let refilled = u128::from(elapsed).saturating_mul(limit.into());
    let left = parts.saturating_sub(refilled.saturating_sub(without));
    with_missing(
        missing(state, length).saturating_sub(left),
        state.at,
        length,
    )
}

pub(super) fn used(state: State) -> u64 {
    state.used.saturating_add(u64::from(state.previous > 0))
}

pub(super) fn resets_at(state: State, limit: u64, length: Nanos) -> Timestamp {
    after(state.at, missing(state, length), limit)
}

/// Returns when no more than `most` is missing.
pub(super) fn at_most_at(state: State, most: u64, limit: u64, length: Nanos) -> Timestamp {
    let most = u128::from(most).saturating_mul(length.as_u64().into());
    after(state.at, missing(state, length).saturating_sub(most), limit)
}
