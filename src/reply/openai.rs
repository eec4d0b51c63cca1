//! `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, as `OpenAI`'s API has them and the clients
//! made for it read them: of each, the limit with the least left.

use super::quota::{Quota, most_constrained, push};
use crate::plugin::Counts;

/// Nanoseconds in a millisecond.
const MILLISECOND: u64 = 1_000_000;

/// The headers of one of the two.
type Names = [&'static str; 3];

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

/// Tells of limits.
pub(super) fn tell(quotas: &[Quota<'_>], add: &mut dyn FnMut(&str, &[u8])) {
    for of in [REQUESTS, TOKENS] {
        let these = quotas.iter().copied();
        let these = these.filter(|quota| names(quota.rate.counts) == of);
        let Some(quota) = most_constrained(these) else {
            continue;
        };
        let [limit, remaining, reset] = of;
        let mut number = itoa::Buffer::new();
        add(limit, number.format(quota.standing.limit).as_bytes());
        let left = quota.standing.remaining();
        add(remaining, number.format(left).as_bytes());
        add(reset, duration(quota.reset()).as_bytes());
    }
}

fn names(counts: Counts) -> Names {
    match counts {
        Counts::Tokens(_) | Counts::Usd(_) => TOKENS,
        Counts::Requests(_) | Counts::InFlight => REQUESTS,
    }
}

/// A duration as Go writes it, to the millisecond and rounded up: `1h0m0s`, `1m30s`, `1.5s`, `6ms`,
/// `0s`.
pub(super) fn duration(nanoseconds: u64) -> String {
    let all = nanoseconds.div_ceil(MILLISECOND);
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
