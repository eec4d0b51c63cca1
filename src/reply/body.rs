//! The body of a refusal: an error, or what the configuration says.

use super::error::{self, Kind};
use super::quota::{Quota, push, seconds, written};
use crate::plugin::Counts;
use filter_config::{Placeholder, Replies, Template, Usd};
use usage_meter::request::path::Target;

/// The body of a refusal because of a limit, after `wait` seconds of which the request can be tried
/// again.
#[cold]
pub(super) fn refusal(
    quota: &Quota<'_>,
    replies: &Replies,
    target: Option<&Target>,
    wait: u64,
) -> String {
    if let Some(template) = &replies.body {
        let kind = replies.content_type.as_deref();
        let is_json = kind.is_none_or(|kind| kind.to_ascii_lowercase().contains("json"));
        return fill(template, quota, wait, is_json);
    }
    let unit = match quota.rate.counts {
        Counts::Tokens(_) => "tokens",
        Counts::Requests(_) | Counts::InFlight => "requests",
        Counts::Usd(_) => "budget",
    };
    let message = message(quota, wait);
    error::body(
        replies.error,
        target,
        Kind::Limited(unit),
        &message,
        replies.status,
    )
}

/// A template with its values, which are made for a string of JSON where it is that.
fn fill(template: &Template, quota: &Quota<'_>, wait: u64, is_json: bool) -> String {
    let text = |body: &mut String, value: &str| {
        if is_json {
            let escaped = error::text(value);
            body.push_str(
                escaped
                    .get(1..escaped.len().saturating_sub(1))
                    .unwrap_or(""),
            );
        } else {
            body.push_str(value);
        }
    };
    template.render(|placeholder, body| match placeholder {
        Placeholder::Limit => text(body, &quota.limit.name),
        Placeholder::Policy => text(body, &quota.policy.name),
        Placeholder::Window => {
            text(body, written(quota.rate, quota.limit).unwrap_or_default());
        }
        Placeholder::Message => text(body, &message(quota, wait)),
        Placeholder::Max => amount(body, quota, quota.standing.limit),
        Placeholder::Remaining => amount(body, quota, quota.standing.remaining()),
        Placeholder::Reset => push(body, seconds(quota.reset())),
        Placeholder::RetryAfter => push(body, wait),
        // Those of the names of headers alone.
        _ => {}
    })
}

/// Writes an amount of what a rate counts.
fn amount(body: &mut String, quota: &Quota<'_>, amount: u64) {
    match quota.rate.counts {
        Counts::Usd(_) => body.push_str(&Usd(amount).to_string()),
        _ => push(body, amount),
    }
}

/// What a refusal says.
fn message(quota: &Quota<'_>, wait: u64) -> String {
    let (name, policy) = (&quota.limit.name, &quota.policy.name);
    let max = quota.standing.limit;
    let shown = |of: u64| {
        let mut shown = String::new();
        amount(&mut shown, quota, of);
        shown
    };
    let (what, unit) = match quota.rate.counts {
        Counts::Tokens(_) => ("Token rate limit", "tokens"),
        Counts::Requests(_) => ("Request rate limit", "requests"),
        Counts::Usd(_) => ("Budget", "USD"),
        Counts::InFlight => {
            return format!(
                "Concurrency limit \"{name}\" of policy \"{policy}\" reached: {max} requests at \
                 once. Try again when one of them is done."
            );
        }
    };
    let window = written(quota.rate, quota.limit);
    let per = window.map_or(String::new(), |window| format!(" per {window}"));
    let max = shown(max);
    let of_what = format!("{what} \"{name}\" of policy \"{policy}\"");
    if quota.standing.is_only_reserved() {
        let held = shown(quota.standing.reserved);
        return format!(
            "{of_what} has no room for now: {held} of {max} {unit}{per} are held by requests that are \
             still under way. Try again in {wait} s."
        );
    }
    format!("{of_what} reached: {max} {unit}{per}. Try again in {wait} s.")
}
