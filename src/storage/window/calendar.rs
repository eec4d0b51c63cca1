//! The bounds of windows in the UTC calendar.

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;
const WEEK: u64 = 7 * DAY;
/// The length that stands for a month, however long that is.
const MONTH: u64 = 30 * DAY;

/// From the last Monday to the epoch, which is a Thursday.
const SINCE_MONDAY: u64 = 3 * DAY;

pub(super) fn has(length: u64) -> bool {
    DAY.checked_rem(length) == Some(0) || length == WEEK || length == MONTH
}

/// The end of the window that `now` lies in.
pub(super) fn end(now: u64, length: u64) -> u64 {
    match length {
        WEEK => {
            end_of_multiple(now.saturating_add(SINCE_MONDAY), WEEK).saturating_sub(SINCE_MONDAY)
        }
        MONTH => end_of_month(now / DAY).saturating_mul(DAY),
        _ => end_of_multiple(now, length),
    }
}

/// The first multiple of a length after `now`.
pub(super) fn end_of_multiple(now: u64, length: u64) -> u64 {
    let into = now.checked_rem(length).unwrap_or(0);
    now.saturating_sub(into).saturating_add(length)
}

/// The first day of the month after that of a day, both in days since the epoch. Years are
/// reckoned from March, so that February ends them and months before it follow a fixed pattern:
/// of every five, 153 days.
#[allow(clippy::arithmetic_side_effects)] // Days are fewer than 2^18, and all differences positive.
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
