//! `X-Budget-*`: what is left of a budget, in US dollars.

use super::quota::{Quota, SECOND};
use filter_config::Usd;

/// Tells of a budget. What requests in flight hold is not used yet, nor is it left. The reset is a
/// time, in seconds since the epoch.
pub(super) fn tell(quota: &Quota<'_>, add: &mut dyn FnMut(&str, &[u8])) {
    let standing = quota.standing;
    for (name, usd) in [
        ("x-budget-limit", standing.limit),
        ("x-budget-used", standing.used),
        ("x-budget-remaining", standing.remaining()),
    ] {
        add(name, Usd(usd).to_string().as_bytes());
    }
    let reset = standing.resets_at.as_u64().div_ceil(SECOND);
    add(
        "x-budget-reset",
        itoa::Buffer::new().format(reset).as_bytes(),
    );
}
