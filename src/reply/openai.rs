//! `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, as `OpenAI`'s API sends them and its clients
//! read them: of each unit, the limit with the least left.

use super::quota::{Names, Quota, write_units};
use super::units::push;
use limits::Nanos;

const TOKENS: Names = [
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
];

const REQUESTS: Names = [
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
];

/// Writes the headers of several limits.
pub(super) fn write(quotas: &[Quota<'_>], add: &mut dyn FnMut(&str, &[u8])) {
    let reset = |quota: &Quota<'_>| duration(quota.reset());
    write_units(quotas, [REQUESTS, TOKENS], reset, add);
}

/// Returns a duration as Go writes it, rounded up to the millisecond: `1h0m0s`, `1m30s`, `1.5s`, `6ms`,
/// `0s`.
pub(super) fn duration(length: Nanos) -> String {
    let all = length.as_u64().div_ceil(Nanos::MILLISECOND.as_u64());
    let (seconds, thousandths) = (all / 1_000, all % 1_000);
    let mut text = String::new();
    if seconds == 0 && thousandths > 0 {
        push(&mut text, thousandths);
        text.push_str("ms");
        return text;
    }
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    if hours > 0 {
        push(&mut text, hours);
        text.push('h');
    }
    if seconds >= 60 {
        push(&mut text, minutes);
        text.push('m');
    }
    push(&mut text, seconds % 60);
    if thousandths > 0 {
        let digits = format!(".{thousandths:03}");
        text.push_str(digits.trim_end_matches('0'));
    }
    text.push('s');
    text
}
