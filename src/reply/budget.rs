//! `X-Budget-*`: what is left of a budget, in US dollars.

use super::quota::Quota;
use filter_config::Usd;
use limits::Nanos;

/// Writes the headers of a budget. What requests in flight reserve is neither used nor left. The reset
/// is a time, in seconds since the Unix epoch.
pub(super) fn write(quota: &Quota<'_>, add: &mut dyn FnMut(&str, &[u8])) {
    let standing = quota.standing;
    for (name, usd) in [
        ("x-budget-limit", standing.limit),
        ("x-budget-used", standing.used),
        ("x-budget-remaining", standing.remaining()),
    ] {
        add(name, Usd(usd).to_string().as_bytes());
    }
    let reset = standing.resets_at.as_u64().div_ceil(Nanos::SECOND.as_u64());
    add(
        "x-budget-reset",
        itoa::Buffer::new().format(reset).as_bytes(),
    );
}
