//! The bounds of windows in the UTC calendar.

use crate::time::{Nanos, Timestamp};

const DAY: Nanos = Nanos::DAY;
const WEEK: Nanos = DAY.saturating_mul(7);
/// The length that stands for a month, whatever the month's length.
const MONTH: Nanos = DAY.saturating_mul(30);

/// From the last Monday to the epoch, which is a Thursday.
const SINCE_MONDAY: Nanos = DAY.saturating_mul(3);

/// Returns whether the calendar has windows of a length.
pub(super) fn has(length: Nanos) -> bool {
    DAY.as_u64().checked_rem(length.as_u64()) == Some(0) || length == WEEK || length == MONTH
}

/// Returns the end of the window that `now` lies in.
pub(super) fn end(now: Timestamp, length: Nanos) -> Timestamp {
    match length {
        WEEK => {
            end_of_multiple(now.saturating_add(SINCE_MONDAY), WEEK).saturating_sub(SINCE_MONDAY)
        }
        MONTH => {
            let end = end_of_month(now.as_u64().checked_div(DAY.as_u64()).unwrap_or_default());
            Timestamp::EPOCH.saturating_add(DAY.saturating_mul(end))
        }
        _ => end_of_multiple(now, length),
    }
}

/// Returns the first multiple of a length after `now`.
pub(super) fn end_of_multiple(now: Timestamp, length: Nanos) -> Timestamp {
    let into = now.as_u64().checked_rem(length.as_u64()).unwrap_or(0);
    now.saturating_sub(Nanos::new(into)).saturating_add(length)
}

/// Returns the first day of the month after that of a day, both in days since the epoch.
///
/// Years are counted from March, so that February ends them and the months before it follow a fixed
/// pattern: of every five, 153 days.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "days are fewer than 2^18, and all differences are positive"
)]
fn end_of_month(day: u64) -> u64 {
    const FOUR_CENTURIES: u64 = 146_097;
    /// From the first of March of the year 0 to the epoch.
    const EPOCH: u64 = 719_468;
    let in_cycle = (day + EPOCH) % FOUR_CENTURIES;
    let leap_days = in_cycle / 1_460 + in_cycle / (FOUR_CENTURIES - 1) - in_cycle / 36_524;
    let year = (in_cycle - leap_days) / 365;
    let in_year = in_cycle - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let end = if month < 11 {
        (153 * (month + 1) + 2) / 5
    } else {
        let next = year + 1;
        let century = next.is_multiple_of(100) && !next.is_multiple_of(400);
        365 + u64::from(next.is_multiple_of(4) && !century)
    };
    day + end - in_year
}
