//! `anthropic-ratelimit-{requests,tokens}-{limit,remaining,reset}`, as Anthropic's API sends them: of each
//! unit, the limit with the least left. Resets are times.

use super::quota::{Names, Quota, write_units};
use limits::{Nanos, Timestamp};

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
    let reset = |quota: &Quota<'_>| time(quota.now.saturating_add(quota.reset()));
    write_units(quotas, [REQUESTS, TOKENS], reset, add);
}

/// Returns a time in the format of RFC 3339, rounded up to the second.
fn time(at: Timestamp) -> String {
    let seconds = at.as_u64().div_ceil(Nanos::SECOND.as_u64());
    let seconds = i64::try_from(seconds).unwrap_or_default();
    let time = chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    // Formatting by a pattern would add 11 kB to the module.
    format!("{:?}Z", time.naive_utc())
}
