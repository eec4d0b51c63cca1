//! `anthropic-ratelimit-{requests,tokens}-{limit,remaining,reset}`, as Anthropic's API sends them: of each
//! unit, the limit with the least left. Resets are times.

use super::quota::{Quota, most_constrained_units};
use limits::{Nanos, Timestamp};

/// The names of the headers of one unit.
type Names = [&'static str; 3];

const TOKENS: Names = [
    "anthropic-ratelimit-tokens-limit",
    "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-tokens-reset",
];

const REQUESTS: Names = [
    "anthropic-ratelimit-requests-limit",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
];

/// Writes the headers of several limits.
pub(super) fn write(quotas: &[Quota<'_>], add: &mut dyn FnMut(&str, &[u8])) {
    for (names, quota) in [REQUESTS, TOKENS]
        .iter()
        .zip(most_constrained_units(quotas))
    {
        let Some(quota) = quota else {
            continue;
        };
        let [limit, remaining, reset] = names;
        let mut number = itoa::Buffer::new();
        add(limit, number.format(quota.standing.limit).as_bytes());
        let left = quota.standing.remaining();
        add(remaining, number.format(left).as_bytes());
        let resets_at = quota.now.saturating_add(quota.reset());
        if let Some(time) = time(resets_at) {
            add(reset, time.as_bytes());
        }
    }
}

/// Returns a time in the format of RFC 3339, rounded up to the second.
fn time(at: Timestamp) -> Option<String> {
    let seconds = at.as_u64().div_ceil(Nanos::SECOND.as_u64());
    let time = chrono::DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)?;
    // As the cel crate does: the formatter is in the module already.
    Some(time.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}
