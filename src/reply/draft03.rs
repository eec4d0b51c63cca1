//! `x-ratelimit-*`, after draft 3 of "`RateLimit` header fields for HTTP" and as Envoy's own rate
//! limit filter writes them: one limit.

use super::quota::Quota;
use super::units::push;

/// Writes the headers of a limit.
pub(super) fn write(quota: &Quota<'_>, add: &mut dyn FnMut(&str, &[u8])) {
    let max = quota.standing.limit;
    let mut limit = String::new();
    push(&mut limit, max);
    limit.push_str(", ");
    push(&mut limit, max);
    if let Some(window) = quota.window() {
        limit.push_str(";w=");
        push(&mut limit, window);
    }
    limit.push_str(";name=");
    limit.push_str(&quota.labels.name);
    add("x-ratelimit-limit", limit.as_bytes());
    let mut number = itoa::Buffer::new();
    let remaining = number.format(quota.standing.remaining());
    add("x-ratelimit-remaining", remaining.as_bytes());
    let reset = number.format(quota.reset().as_secs_rounded_up());
    add("x-ratelimit-reset", reset.as_bytes());
}
