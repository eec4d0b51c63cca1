//! What callers are told: refusals, and headers that say what is left.

mod body;
mod budget;
mod draft03;
mod error;
mod ietf;
mod named;
mod openai;
mod quota;
#[cfg(test)]
mod tests;

use crate::admit::{Denial, Told};
use crate::host::{HeaderMap, Host, LocalReply, is_header_value};
use crate::plugin::{Charge, Counts, Plugin};
use error::Kind;
use filter_config::QuotaHeaders;
use limits::Standing;
use quota::{Quota, SECOND, most_constrained};
use usage_meter::request::path::Target;

pub use quota::Prepared;

/// Nanoseconds in a millisecond.
const MILLISECOND: u64 = 1_000_000;

/// gRPC's `RESOURCE_EXHAUSTED`.
const RESOURCE_EXHAUSTED: i32 = 8;

/// gRPC's `PERMISSION_DENIED`.
const PERMISSION_DENIED: i32 = 7;

/// gRPC's `INTERNAL`.
const INTERNAL: i32 = 13;

/// The header that tells of a limit whose use is past its `alertAt`.
const ALERT: &str = "x-ratelimit-alert";

/// Refuses a request because of a limit; `told` are headers that a rate limit service adds, in place
/// of ours with the same names. Returns whether Envoy took the reply.
#[cold]
pub fn deny(plugin: &Plugin, denial: &Denial, target: Option<&Target>, told: &Told) -> bool {
    let Some(quota) = Quota::new(plugin, &denial.charge, &denial.standing, denial.now) else {
        return false;
    };
    let replies = &plugin.configuration.replies;
    // Nobody knows when requests in flight end: a second is as good as any.
    let wait = match quota.reset() {
        0 => SECOND,
        reset => reset,
    };
    let retry_after = quota::seconds(wait);
    let content_type = replies.content_type.as_deref();
    let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, value: &[u8]| headers.push((name.to_owned(), value.to_vec()));
    add(
        "content-type",
        content_type.unwrap_or("application/json").as_bytes(),
    );
    let mut number = itoa::Buffer::new();
    add("retry-after", number.format(retry_after).as_bytes());
    let milliseconds = wait.div_ceil(MILLISECOND);
    add("retry-after-ms", number.format(milliseconds).as_bytes());
    let style = replies.headers.as_ref().unwrap_or(&QuotaHeaders::Draft03);
    tell(style, vec![quota], Some(retry_after), &mut add);
    let headers: Vec<(&str, &[u8])> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .filter(|(name, value)| is_header_value(value) && told.iter().all(|(told, _)| told != name))
        .chain(told.iter().map(|(name, value)| (&**name, &**value)))
        .collect();
    let body = body::refusal(&quota, replies, target, retry_after);
    let reply = LocalReply {
        status: replies.status,
        details: "tollgate_denied",
        headers: &headers,
        body: body.as_bytes(),
        grpc_status: RESOURCE_EXHAUSTED,
    };
    plugin.host.reply(&reply).is_ok()
}

/// Refuses a request because its policy could not be evaluated. Returns whether Envoy took the
/// reply.
pub fn fail(plugin: &Plugin, target: Option<&Target>) -> bool {
    let message = "The token rate limit of this request could not be determined.";
    let details = "tollgate_failed";
    refuse(
        plugin,
        target,
        Kind::Failed,
        message,
        (500, INTERNAL),
        details,
    )
}

/// Refuses a request because its model has no price. Returns whether Envoy took the reply.
pub fn refuse_unpriced(plugin: &Plugin, target: Option<&Target>) -> bool {
    let message = "The model has no price, and this budget admits only models that have one.";
    let status = (403, PERMISSION_DENIED);
    let details = "tollgate_unpriced";
    refuse(plugin, target, Kind::Unpriced, message, status, details)
}

/// Refuses a request for what is no limit's doing, with a status of HTTP and one of gRPC.
#[cold]
fn refuse(
    plugin: &Plugin,
    target: Option<&Target>,
    kind: Kind,
    message: &str,
    (status, grpc_status): (u16, i32),
    details: &str,
) -> bool {
    let shape = plugin.configuration.replies.error;
    let body = error::body(shape, target, kind, message, status);
    let reply = LocalReply {
        status,
        details,
        headers: &[("content-type", b"application/json")],
        body: body.as_bytes(),
        grpc_status,
    };
    plugin.host.reply(&reply).is_ok()
}

/// Adds to an admitted response what its caller is to know: the limits that are nearly used up and,
/// where the configuration asks for quota headers, how the limits stand.
pub fn annotate(plugin: &Plugin, charges: &[Charge], standings: &[Standing]) {
    let counted = charges
        .iter()
        .zip(standings)
        .filter_map(|(charge, standing)| Quota::new(plugin, charge, standing, 0))
        .filter(|quota| !quota.limit.shadow);
    let mut add = |name: &str, value: &[u8]| {
        // The response is worth more than a header about it.
        let _ = plugin.host.set_header(HeaderMap::Response, name, value);
    };
    let alerts = counted
        .clone()
        .filter(|quota| quota.standing.used >= quota.rate.alert_past(quota.standing.limit));
    let alerts: Vec<&str> = alerts.map(|quota| quota.prepared.name.as_str()).collect();
    if !alerts.is_empty() {
        add(ALERT, alerts.join(", ").as_bytes());
    }
    let style = match &plugin.configuration.replies.headers {
        None | Some(QuotaHeaders::None) => return,
        Some(style) => style,
    };
    let now = plugin.host.now().unwrap_or_default();
    let quotas = counted.map(|quota| Quota { now, ..quota }).collect();
    tell(style, quotas, None, &mut add);
}

/// Writes quota headers. With `retry_after`, the seconds after which the request can be tried again,
/// they are those of a refusal.
fn tell(
    style: &QuotaHeaders,
    mut quotas: Vec<Quota<'_>>,
    retry_after: Option<u64>,
    add: &mut dyn FnMut(&str, &[u8]),
) {
    if retry_after.is_none() && !matches!(style, QuotaHeaders::Ietf) {
        // The others have no words for requests in flight.
        quotas.retain(|quota| quota.rate.counts != Counts::InFlight);
    }
    if *style != QuotaHeaders::None {
        // Money has headers of its own.
        let is_usd = |quota: &Quota<'_>| matches!(quota.rate.counts, Counts::Usd(_));
        let budgets = quotas.iter().copied().filter(is_usd);
        if let Some(quota) = most_constrained(budgets) {
            budget::tell(&quota, add);
        }
        quotas.retain(|quota| !is_usd(quota));
    }
    match style {
        QuotaHeaders::None => {}
        QuotaHeaders::Draft03 => {
            if let Some(quota) = most_constrained(quotas.into_iter()) {
                draft03::tell(&quota, add);
            }
        }
        QuotaHeaders::Ietf => ietf::tell(&quotas, add),
        QuotaHeaders::OpenAi => openai::tell(&quotas, add),
        QuotaHeaders::Named(_) => named::tell(&quotas, retry_after, add),
    }
}

/// Adds to an admitted response what a rate limit service wants its caller to be told.
pub fn pass_on(host: &dyn Host, told: &Told) {
    for (name, value) in told {
        // The response is worth more than a header about it.
        let _ = host.set_header(HeaderMap::Response, name, value);
    }
}
