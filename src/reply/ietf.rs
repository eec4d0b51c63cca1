//! `RateLimit-Policy` and `RateLimit`, the structured fields of "`RateLimit` header fields for HTTP"
//! (draft-ietf-httpapi-ratelimit-headers-10): all limits, each under a name of its own.

use super::quota::Quota;
use super::units::push;

/// The most limits that are listed: those with the least left.
const MAX_LIMITS: usize = 16;

/// The largest integer of a structured field (RFC 8941, section 3.3.1).
const MAX_INTEGER: u64 = 999_999_999_999_999;

/// Writes the headers of several limits.
pub(super) fn write(all: &[Quota<'_>], add: &mut dyn FnMut(&str, &[u8])) {
    let mut quotas: Vec<&Quota<'_>> = Vec::new();
    for quota in all {
        quotas.push(quota);
        if quotas.len() > MAX_LIMITS {
            let left = quotas.iter().map(|quota| quota.standing.remaining());
            if let Some((most, _)) = left.enumerate().max_by_key(|(_, left)| *left) {
                quotas.remove(most);
            }
        }
    }
    let [mut policies, mut limits] = [String::new(), String::new()];
    for quota in &quotas {
        for list in [&mut policies, &mut limits] {
            if !list.is_empty() {
                list.push_str(", ");
            }
            list.push_str(&quota.labels.key);
        }
        parameter(&mut policies, ";q=", quota.standing.limit);
        if let Some(window) = quota.window() {
            parameter(&mut policies, ";w=", window);
        }
        policies.push_str(";qu=\"");
        policies.push_str(quota.unit());
        policies.push('"');
        parameter(&mut limits, ";r=", quota.standing.remaining());
        if quota.window().is_some() {
            parameter(&mut limits, ";t=", quota.reset().as_secs_rounded_up());
        }
    }
    if !quotas.is_empty() {
        add("ratelimit-policy", policies.as_bytes());
        add("ratelimit", limits.as_bytes());
    }
}

fn parameter(list: &mut String, name: &str, value: u64) {
    list.push_str(name);
    push(list, value.min(MAX_INTEGER));
}
