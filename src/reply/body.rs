//! The body of a rejection: an error in the format of the API, or the configured template.

use super::error::{self, ErrorKind};
use super::quota::Quota;
use super::units::push;
use crate::policies::Unit;
use filter_config::{Placeholder, Replies, Template};

/// Returns the error of a rejection by a limit.
pub(super) fn kind(quota: &Quota<'_>) -> ErrorKind {
    if quota.is_exhausted() {
        return ErrorKind::Exhausted;
    }
    ErrorKind::Limited(match quota.rate.unit {
        Unit::Tokens(_) => "tokens",
        Unit::Requests(_) | Unit::InFlight => "requests",
        Unit::Usd(_) => "budget",
    })
}

/// Returns the configured body of a rejection by a limit, where a retry may succeed after `wait` seconds; `None` if
/// there is no template.
#[cold]
pub(super) fn of_template(quota: &Quota<'_>, replies: &Replies, wait: u64) -> Option<String> {
    let own = quota.limit.reply.as_ref();
    let template = own.and_then(|own| own.body.as_ref());
    let template = template.or(replies.body.as_ref())?;
    let kind = replies.content_type.as_deref();
    let is_json = kind.is_none_or(|kind| kind.to_ascii_lowercase().contains("json"));
    Some(fill(template, quota, wait, is_json))
}

/// Returns a template with its values; in JSON, the values are escaped.
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
            text(
                body,
                quota.rate.written_window(quota.limit).unwrap_or_default(),
            );
        }
        Placeholder::Message => text(body, &message(quota, wait)),
        Placeholder::Max => quota.rate.unit.push_amount(body, quota.standing.limit),
        Placeholder::Remaining => quota
            .rate
            .unit
            .push_amount(body, quota.standing.remaining()),
        Placeholder::Reset => push(body, quota.reset().as_secs_rounded_up()),
        Placeholder::RetryAfter => push(body, wait),
        // Placeholders of header names have no meaning in a body.
        _ => {}
    })
}

/// Returns the message of a rejection.
pub(super) fn message(quota: &Quota<'_>, wait: u64) -> String {
    let (name, policy) = (&quota.limit.name, &quota.policy.name);
    let max = quota.standing.limit;
    let shown = |of: u64| quota.rate.unit.amount(of);
    let (what, unit) = match quota.rate.unit {
        Unit::Tokens(_) => ("Token rate limit", "tokens"),
        Unit::Requests(_) => ("Request rate limit", "requests"),
        Unit::Usd(_) => ("Budget", "USD"),
        Unit::InFlight => {
            return format!(
                "Concurrency limit \"{name}\" of policy \"{policy}\" reached: {max} concurrent \
                 requests. Try again when one of them has ended."
            );
        }
    };
    let window = quota.rate.written_window(quota.limit);
    let per = window.map_or(String::new(), |window| format!(" per {window}"));
    if quota.admits_nothing() {
        return format!("{what} \"{name}\" of policy \"{policy}\" is 0: it admits no request.");
    }
    let max = shown(max);
    let of_what = format!("{what} \"{name}\" of policy \"{policy}\"");
    if let Some(needed) = quota.needed {
        let needs = format!("the request needs at least {}", shown(needed));
        if quota.never_fits() {
            return format!(
                "{of_what} never has room for this request: {needs}, and the limit is {max} {unit}{per}. Send a \
                 shorter request."
            );
        }
        let left = shown(quota.standing.remaining());
        return format!(
            "{of_what} has too little left: {needs}, and {left} of {max} {unit}{per} are left. Try again in \
             {wait} s."
        );
    }
    if quota.standing.is_only_reserved() {
        let reserved = shown(quota.standing.reserved);
        return format!(
            "{of_what} is fully reserved: {reserved} of {max} {unit}{per} are reserved by requests in \
             flight. Try again in {wait} s."
        );
    }
    format!("{of_what} reached: {max} {unit}{per}. Try again in {wait} s.")
}
